-- One row for each scan, in a partition for each day. 0002_scans.sqlite.sql says what the columns
-- mean and how the day is chosen; '' is no day. Every key holds unit, by which Citus may
-- distribute the tables.
CREATE TABLE scan (
    number       BIGINT NOT NULL,
    day          TEXT COLLATE "C" NOT NULL,
    unit         TEXT COLLATE "C" NOT NULL,
    epoch        TEXT COLLATE "C" NOT NULL,
    seq          BIGINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    area         TEXT COLLATE "C" NOT NULL,
    place        TEXT COLLATE "C" NOT NULL,
    direction    TEXT COLLATE "C" NOT NULL,
    trip         TEXT COLLATE "C" NOT NULL,
    document     TEXT COLLATE "C" NOT NULL,
    at           TEXT COLLATE "C" NOT NULL,
    boot         TEXT COLLATE "C" NOT NULL,
    uptime_ms    BIGINT NOT NULL,
    clock        TEXT COLLATE "C" NOT NULL,
    time         TEXT COLLATE "C" NOT NULL,
    time_quality TEXT COLLATE "C" NOT NULL,
    received     TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    sealed       BYTEA NOT NULL,
    PRIMARY KEY (unit, epoch, seq, id, day)
) PARTITION BY LIST (day);

CREATE INDEX scan_place_time ON scan (place, time, direction);
CREATE INDEX scan_number ON scan (number);

-- Rows go straight into the table of their day, which fills in what day that is.
CREATE TABLE scan_undated PARTITION OF scan FOR VALUES IN ('');
ALTER TABLE scan_undated ALTER day SET DEFAULT '';

-- Holds only what may still be corrected.
CREATE INDEX undated_unsynced ON scan_undated (unit, boot) WHERE time_quality = 'unsynced';
CREATE INDEX undated_received ON scan_undated (received);

-- A row of these is written to again and again: room for its next version beside it.
ALTER TABLE unit SET (fillfactor = 70);
ALTER TABLE held SET (fillfactor = 70);
ALTER TABLE scans_by_quarter SET (fillfactor = 70);
ALTER TABLE scans_by_day SET (fillfactor = 70);
