-- Groups of units, named by the office. The newest row of each name is in force; the others are the
-- history of who changed it.
CREATE TABLE unit_group (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL,
    units  TEXT NOT NULL,                      -- JSON: names in order; [] for a group that is no more
    set_by TEXT NOT NULL,
    set_at TEXT NOT NULL
);

-- What was asked for: a unit's own name, or the all, area:, place: or group: that it was one of.
ALTER TABLE command ADD COLUMN scope TEXT NOT NULL DEFAULT '';
