-- Mail that is to go out, and for a while what went. content is the whole message, empty once it is
-- gone; recipients are those that have not got it yet.
CREATE TABLE mail (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    about      TEXT    NOT NULL UNIQUE,    -- what it tells of, so that nothing is told twice
    made       TEXT    NOT NULL,
    due        TEXT    NOT NULL,           -- not to be tried before
    tries      INTEGER NOT NULL DEFAULT 0,
    recipients TEXT    NOT NULL,           -- JSON
    content    BLOB    NOT NULL,
    error      TEXT    NOT NULL DEFAULT '',
    sent       TEXT,                       -- when the server took it for the last of them
    given_up   TEXT
);

CREATE INDEX mail_waiting ON mail (due) WHERE sent IS NULL AND given_up IS NULL;

-- told is for the webhook, this for mail: one that fails holds up none of the other.
ALTER TABLE alarm ADD COLUMN mailed TEXT;
