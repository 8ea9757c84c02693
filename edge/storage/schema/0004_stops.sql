-- Where a vehicle stood, as coarsely as its unit tells; kept as long as the scans of its day. Scans
-- have no position: a stop is matched with them by unit and time when somebody asks.
CREATE TABLE stop (
    unit      TEXT NOT NULL,
    since     TEXT NOT NULL,
    until     TEXT NOT NULL,
    latitude  TEXT NOT NULL,                   -- as the unit rounded it
    longitude TEXT NOT NULL,
    PRIMARY KEY (unit, since)
) WITHOUT ROWID;

CREATE INDEX stop_since ON stop (since);
