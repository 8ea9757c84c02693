-- Who wanted units to be asked at once for what is missing. The running collector takes it up.
CREATE TABLE asked_again (
    id       TEXT NOT NULL PRIMARY KEY,
    asked_by TEXT NOT NULL,
    asked    TEXT NOT NULL,
    taken    TEXT NOT NULL DEFAULT '',         -- when a collector took it up
    units    INTEGER                           -- how many units it then asked; null until it has
) WITHOUT ROWID;
