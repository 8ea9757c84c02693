-- The register of places at the centre. Numbered files are never edited after a release.

-- record is the place as edge/register.py writes it, with its dated tree, hours and vehicle.
CREATE TABLE place (
    place   TEXT NOT NULL PRIMARY KEY,
    record  TEXT NOT NULL,
    changed TEXT NOT NULL
);

-- One row. version grows with every change, so that whoever keeps the register in memory knows.
CREATE TABLE place_register (
    only_row INTEGER NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL
);

INSERT INTO place_register (only_row, version) VALUES (1, 0);

-- On which local days a unit was heard of at all, and at which place: what tells a place without
-- scans from one whose units are silent, also of days that have gone.
CREATE TABLE heard_by_day (
    day   TEXT NOT NULL,
    unit  TEXT NOT NULL,
    place TEXT NOT NULL,
    PRIMARY KEY (day, unit)
);
