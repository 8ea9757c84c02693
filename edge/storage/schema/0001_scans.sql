-- What the collector keeps. Numbered files are never edited after a release; a change is a new one.

-- One row for each scan. What identifies a person is in sealed, for the tracing desk alone.
-- A unit's number is unique within its epoch; the id is part of the key all the same, so that two
-- units running under one name (a copied card) are both kept and can be told apart.
CREATE TABLE scan (
    unit      TEXT    NOT NULL,
    epoch     TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    id        TEXT    NOT NULL,
    area      TEXT    NOT NULL,
    place     TEXT    NOT NULL,
    direction TEXT    NOT NULL,
    trip      TEXT    NOT NULL,
    document  TEXT    NOT NULL,
    at        TEXT    NOT NULL,
    boot      TEXT    NOT NULL,
    uptime_ms INTEGER NOT NULL,
    clock     TEXT    NOT NULL,
    received  TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    sealed    BLOB    NOT NULL,
    PRIMARY KEY (unit, epoch, seq, id)
);

CREATE INDEX scan_place_at ON scan (place, at, direction);

-- Which numbers of a unit are rows, as ranges: the centre's proof that 1..n are all there.
CREATE TABLE held (
    unit  TEXT    NOT NULL,
    epoch TEXT    NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    PRIMARY KEY (unit, epoch, first)
);

-- What is known of each unit. birth orders its sessions; counters only grow.
CREATE TABLE unit (
    unit      TEXT    NOT NULL PRIMARY KEY,
    area      TEXT    NOT NULL,
    state     TEXT    NOT NULL DEFAULT 'unknown',
    birth     INTEGER NOT NULL DEFAULT 0,
    place     TEXT    NOT NULL DEFAULT '',
    direction TEXT    NOT NULL DEFAULT '',
    software  TEXT    NOT NULL DEFAULT '',
    last_scan TEXT,
    changed   TEXT    NOT NULL,
    repeats   INTEGER NOT NULL DEFAULT 0,
    health    TEXT
);

-- Messages that could not be read, alone and with their reason. Only the first bytes are kept, for
-- whoever has to find out who sends them.
CREATE TABLE set_aside (
    number   INTEGER PRIMARY KEY,
    received TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    head     BLOB    NOT NULL
);
