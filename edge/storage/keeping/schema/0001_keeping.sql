-- For how long scans are kept: what is wished for, what each collector does, what was erased.

-- Every wish that was ever made; the last one counts. days: 14 to 30, or 0 to wish for none.
CREATE TABLE keeping_wish (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    days   INTEGER NOT NULL,
    set_by TEXT    NOT NULL,
    set_at TEXT    NOT NULL
);

-- What each collector does by its own settings and the wish: own_days stands in its file, days is
-- the shorter of both, 0 if it erases nothing.
CREATE TABLE keeping_done (
    collector TEXT    NOT NULL PRIMARY KEY,
    own_days  INTEGER NOT NULL,
    days      INTEGER NOT NULL,
    seen      TEXT    NOT NULL
);

-- What was erased: days before this day, so many scans and messages that were set aside.
CREATE TABLE keeping_erased (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    at         TEXT    NOT NULL,
    collector  TEXT    NOT NULL,
    before_day TEXT    NOT NULL,
    scans      INTEGER NOT NULL,
    set_aside  INTEGER NOT NULL
);
