-- One row for each scan, in a table for each day. What identifies a person is in sealed, for the
-- tracing desk alone. A unit's number is unique within its epoch; the id is part of the key all the
-- same, so that two units running under one name (a copied card) are both kept and can be told
-- apart.
--
-- at, boot, uptime_ms and clock are what the unit said, and are never changed. time is the best that
-- is known, by time_quality:
--     synced     the unit's clock was set when it scanned: time is at
--     corrected  it was set later in the same boot, which tells when the boot began
--     unsynced   it was not, or to a day that cannot be: time is at, where the clock stood. A unit
--                starts with the time at which it was last on, so the scan was made between at and
--                received. Nothing is guessed.
-- A correction may come long after its scans.
--
-- The day of a row is the same for every repeat of a scan and does not move when its time is
-- corrected: it is the day of at (UTC) where clock is not 'none'. Rows with clock 'none', and those
-- whose day can only be a wrong clock's, are of no day: they are in scan_undated and expire by
-- received. number orders rows as they came, or as their time was corrected: see feed.py.
--
-- scan_undated is the pattern of every day's table, scan_20210702, which days.py makes with those of
-- its indexes whose names begin as it does. The view scan is all of them.
CREATE TABLE scan_undated (
    number       INTEGER NOT NULL PRIMARY KEY,
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
    sealed       BLOB    NOT NULL
);

CREATE UNIQUE INDEX scan_undated_once ON scan_undated (unit, epoch, seq, id);
CREATE INDEX scan_undated_place_time ON scan_undated (place, time, direction);

-- Holds only what may still be corrected.
CREATE INDEX undated_unsynced ON scan_undated (unit, boot) WHERE time_quality = 'unsynced';
CREATE INDEX undated_received ON scan_undated (received);

CREATE VIEW scan AS SELECT '' AS day, * FROM scan_undated;
