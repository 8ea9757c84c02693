-- Scans of persons who were erased at their wish, by the number of the request: see erased.py.
CREATE TABLE erased_scan (
    scan    BLOB    NOT NULL PRIMARY KEY,
    request INTEGER NOT NULL,
    place   TEXT    NOT NULL,
    time    TEXT    NOT NULL,
    erased  INTEGER NOT NULL
) WITHOUT ROWID;
