-- The desk's index: who was where, by tokens. No name, number or phone is ever in it.

-- One row for each identifier that was ever seen, by its keyed token. Tokens that one document
-- showed together are one person: they share the number in person, which is the number of the
-- first of them. name tokens are never joined with others.
CREATE TABLE identifier (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind   TEXT    NOT NULL,
    token  BLOB    NOT NULL UNIQUE,
    person INTEGER NOT NULL
);

CREATE INDEX identifier_person ON identifier (person);

-- Why two tokens are one person's: the first scan that showed both, and its kind of document.
CREATE TABLE link (
    one      INTEGER NOT NULL,
    other    INTEGER NOT NULL,
    scan     BLOB    NOT NULL,
    document TEXT    NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;

-- Documents that would have joined two persons who each have a 12-digit number of their own: two
-- cards in one hand, or a forged code. Nothing was joined.
CREATE TABLE conflict (
    scan     BLOB    NOT NULL PRIMARY KEY,
    time     INTEGER NOT NULL,
    document TEXT    NOT NULL,
    one      INTEGER NOT NULL,
    other    INTEGER NOT NULL
) WITHOUT ROWID;

-- Persons who bear one name and birth year: a weak hint, and never more.
CREATE TABLE namesake (
    token  BLOB    NOT NULL,
    person INTEGER NOT NULL,
    PRIMARY KEY (token, person)
) WITHOUT ROWID;

CREATE INDEX namesake_person ON namesake (person);

-- Places and units are named by numbers in the large tables.
CREATE TABLE name (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT    NOT NULL UNIQUE
);

-- One row for each scan that was opened. Times are milliseconds since 1970; direction 0 in, 1 out,
-- 2 both; quality 0 synced, 1 corrected, 2 unsynced.
CREATE TABLE sighting (
    scan     BLOB    NOT NULL PRIMARY KEY,
    person   INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    unit     INTEGER NOT NULL,
    trip     TEXT    NOT NULL,
    direction INTEGER NOT NULL,
    quality  INTEGER NOT NULL,
    received INTEGER NOT NULL,
    document TEXT    NOT NULL
) WITHOUT ROWID;

CREATE INDEX sighting_person ON sighting (person, time);
CREATE INDEX sighting_place ON sighting (place, time, direction, quality);
CREATE INDEX sighting_time ON sighting (time);

-- Made from sightings, and made anew when one comes late or is dated anew.
CREATE TABLE visit (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    person      INTEGER NOT NULL,
    place       INTEGER NOT NULL,
    trip        TEXT    NOT NULL,
    start       INTEGER NOT NULL,
    finish      INTEGER NOT NULL,
    start_bound INTEGER NOT NULL,
    end_bound   INTEGER NOT NULL,
    entry_scan  BLOB    NOT NULL,
    exit_scan   BLOB    NOT NULL
);

CREATE INDEX visit_person ON visit (person, start);
CREATE INDEX visit_place ON visit (place, start, finish, person);

-- 1: how far the desk has come in storage. 2 and 3: which keys and which legal bases it had then.
-- 4: the highest number that a person ever had.
CREATE TABLE progress (
    id       INTEGER NOT NULL PRIMARY KEY,
    position TEXT    NOT NULL
);

-- What it could not use on the way, by reason.
CREATE TABLE unused (
    reason TEXT    NOT NULL,
    unit   TEXT    NOT NULL,
    day    TEXT    NOT NULL,
    scans  INTEGER NOT NULL,
    PRIMARY KEY (reason, unit, day)
) WITHOUT ROWID;
