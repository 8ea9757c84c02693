-- Alarms, open and past. At most one of a kind is open for a subject: one that is neither cleared
-- nor closed. cleared is when what it was about had ended; closed is when a person said so.

CREATE TABLE alarm (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    subject      TEXT NOT NULL,
    place        TEXT NOT NULL,
    detail       TEXT NOT NULL,
    raised       TEXT NOT NULL,
    cleared      TEXT,
    told         TEXT,                  -- when mail and webhook took it
    acknowledged TEXT,
    acknowledger TEXT,
    closed       TEXT,
    closer       TEXT,
    note         TEXT NOT NULL DEFAULT ''
);

CREATE INDEX alarm_closed ON alarm (closed, raised);
