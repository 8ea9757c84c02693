-- What happened to each unit, as its announcements told: online, stopped, offline, doubled. A number
-- of them are kept of each.
CREATE TABLE unit_event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    unit   TEXT NOT NULL,
    at     TEXT NOT NULL,
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX unit_event_unit ON unit_event (unit, number);
