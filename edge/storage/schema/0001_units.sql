-- What is kept of units and of counts, on both engines. Numbered files are never edited after a
-- release; a change is a new one. Scans themselves: 0002.

-- When each boot of a unit began, in milliseconds since 1970, and what had set the clock that says
-- so. Learned from scans, status and health; corrects scans of the boot that come before or after.
CREATE TABLE boot (
    unit      TEXT    NOT NULL,
    boot      TEXT    NOT NULL,
    offset_ms INTEGER NOT NULL,
    source    TEXT    NOT NULL,
    received  TEXT    NOT NULL,
    PRIMARY KEY (unit, boot)
) WITHOUT ROWID;

-- Which numbers of a unit are rows, as ranges: the centre's proof that 1..n are all there, also of
-- days that have expired. since is how long the gap below a range has been known. A number that is
-- not held here is no row, and needs no looking up when it comes.
CREATE TABLE held (
    unit  TEXT    NOT NULL,
    epoch TEXT    NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    since TEXT    NOT NULL,
    PRIMARY KEY (unit, epoch, first)
) WITHOUT ROWID;

-- What is known of each unit. birth orders the sessions of one epoch; counters only grow, but for
-- unsynced, which a correction moves to corrected.
CREATE TABLE unit (
    unit       TEXT    NOT NULL PRIMARY KEY,
    area       TEXT    NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'unknown',
    epoch      TEXT    NOT NULL DEFAULT '',
    boot       TEXT    NOT NULL DEFAULT '',
    birth      INTEGER NOT NULL DEFAULT 0,
    place      TEXT    NOT NULL DEFAULT '',
    direction  TEXT    NOT NULL DEFAULT '',
    software   TEXT    NOT NULL DEFAULT '',
    last_scan  TEXT,                           -- when the last one came in
    seen       TEXT,                           -- when it last said anything itself
    synced     INTEGER NOT NULL DEFAULT 0,
    corrected  INTEGER NOT NULL DEFAULT 0,
    unsynced   INTEGER NOT NULL DEFAULT 0,
    repeats    INTEGER NOT NULL DEFAULT 0,
    doubles    INTEGER NOT NULL DEFAULT 0,     -- numbers that came with a second id
    doubled    TEXT,                           -- when one last did
    takeovers  INTEGER NOT NULL DEFAULT 0,     -- times that an earlier boot was back after another
    taken_over TEXT,
    key        BLOB,                           -- its own public key, by which bundles are verified
    health     TEXT
);

-- The boots in which a unit announced itself lately, by which two units under one name are noticed.
CREATE TABLE session (
    unit  TEXT    NOT NULL,
    epoch TEXT    NOT NULL,
    boot  TEXT    NOT NULL,
    birth INTEGER NOT NULL,                    -- of its newest announcement
    since TEXT    NOT NULL,
    turn  INTEGER NOT NULL,                    -- grows with every announcement of the unit
    PRIMARY KEY (unit, epoch, boot)
) WITHOUT ROWID;

-- Messages that could not be read, alone and with their reason. Only the first bytes are kept, for
-- whoever has to find out who sends them.
CREATE TABLE set_aside (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    received TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    head     BLOB    NOT NULL
);

-- How many scans there are by time: the day, and the quarter of an hour within it (0 to 95), of
-- Vietnam's clock. Kept in the transaction that brings, or dates, the scans; unsynced says how many
-- of them have a time that is not certain. They stay when the scans expire.
CREATE TABLE scans_by_quarter (
    day       TEXT    NOT NULL,
    place     TEXT    NOT NULL,
    unit      TEXT    NOT NULL,
    direction TEXT    NOT NULL,
    quarter   INTEGER NOT NULL,
    scans     INTEGER NOT NULL,
    unsynced  INTEGER NOT NULL,
    PRIMARY KEY (day, place, unit, direction, quarter)
) WITHOUT ROWID;

CREATE TABLE scans_by_day (
    day       TEXT    NOT NULL,
    place     TEXT    NOT NULL,
    unit      TEXT    NOT NULL,
    direction TEXT    NOT NULL,
    scans     INTEGER NOT NULL,
    unsynced  INTEGER NOT NULL,
    PRIMARY KEY (day, place, unit, direction)
) WITHOUT ROWID;

-- One row. last: the number given to a scan last (SQLite). ahead: what is added to PostgreSQL's own
-- numbers of transactions, so that ours grow even when the tables have moved to another server.
-- expired_before: scans of days before it have been dropped.
CREATE TABLE feed (
    only_row       INTEGER NOT NULL PRIMARY KEY,
    last           INTEGER NOT NULL,
    ahead          INTEGER NOT NULL,
    expired_before TEXT    NOT NULL
);

INSERT INTO feed (only_row, last, ahead, expired_before) VALUES (1, 0, 0, '');
