-- What the collector keeps. Numbered files are never edited after a release; a change is a new one.

-- One row for each scan. What identifies a person is in sealed, for the tracing desk alone.
-- A unit's number is unique within its epoch; the id is part of the key all the same, so that two
-- units running under one name (a copied card) are both kept and can be told apart.
--
-- at, boot, uptime_ms and clock are what the unit said, and are never changed. time is the best that
-- is known, by time_quality:
--     synced     the unit's clock was set when it scanned: time is at
--     corrected  it was set later in the same boot, which tells when the boot began
--     unsynced   it was not: time is at, where the clock stood. A unit starts with the time at which
--                it was last on, so the scan was made between at and received. Nothing is guessed.
-- A correction may come long after its scans, as one statement over scan_unsynced.
--
-- Tables by day: the day of a row must be the same for every repeat of a scan, or its key would not
-- find it, and must not move when its time is corrected. So it is the day of at where clock is not
-- 'none'; rows with clock 'none' are of no day, belong in one table beside the days, and expire by
-- received. Every question about a time asks the days and that one.
CREATE TABLE scan (
    unit         TEXT    NOT NULL,
    epoch        TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    area         TEXT    NOT NULL,
    place        TEXT    NOT NULL,
    direction    TEXT    NOT NULL,
    trip         TEXT    NOT NULL,
    document     TEXT    NOT NULL,
    at           TEXT    NOT NULL,
    boot         TEXT    NOT NULL,
    uptime_ms    INTEGER NOT NULL,
    clock        TEXT    NOT NULL,
    time         TEXT    NOT NULL,
    time_quality TEXT    NOT NULL,
    received     TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    sealed       BLOB    NOT NULL,
    PRIMARY KEY (unit, epoch, seq, id)
);

CREATE INDEX scan_place_time ON scan (place, time, direction);

-- Holds only what may still be corrected.
CREATE INDEX scan_unsynced ON scan (boot) WHERE time_quality = 'unsynced';

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

-- Which numbers of a unit are rows, as ranges: the centre's proof that 1..n are all there. since is
-- how long the gap below a range has been known.
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
    number   INTEGER PRIMARY KEY,
    received TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    head     BLOB    NOT NULL
);
