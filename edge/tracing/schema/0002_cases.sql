-- Who may ask, and what for. Nothing here names a person who was scanned.

-- The people of the desk. secret is an Argon2id hash, for those who come through pages; who comes
-- from this machine is known by their account there, as the kernel says it.
CREATE TABLE worker (
    name    TEXT NOT NULL PRIMARY KEY,
    title   TEXT NOT NULL,
    role    TEXT NOT NULL,
    secret  TEXT NOT NULL,
    active  INTEGER NOT NULL
);

-- A question of an outbreak: its purpose, who asked for it, who agreed. state: asked, approved,
-- refused, closed. hold: until when its records are kept past the retention, 0 for not.
CREATE TABLE cases (
    id         TEXT    NOT NULL PRIMARY KEY,
    purpose    TEXT    NOT NULL,
    requester  TEXT    NOT NULL,
    asked      TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    approver   TEXT    NOT NULL,
    decided    TEXT    NOT NULL,
    hold       INTEGER NOT NULL
);

-- The persons whom a case is about: the index case, and those who were found by its questions.
CREATE TABLE case_person (
    case_id TEXT    NOT NULL,
    person  INTEGER NOT NULL,
    ring    INTEGER NOT NULL,
    PRIMARY KEY (case_id, person)
) WITHOUT ROWID;

-- The tokens of the persons a case was opened for, before anybody with them was ever scanned.
CREATE TABLE case_token (
    case_id TEXT NOT NULL,
    kind    TEXT NOT NULL,
    token   BLOB NOT NULL,
    PRIMARY KEY (case_id, kind, token)
) WITHOUT ROWID;

-- A wish to see who certain persons of a case are. state: asked, approved, refused.
CREATE TABLE release (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id   TEXT NOT NULL,
    persons   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    requester TEXT NOT NULL,
    asked     TEXT NOT NULL,
    state     TEXT NOT NULL,
    approver  TEXT NOT NULL,
    decided   TEXT NOT NULL
);

-- What people ask about their own data: access, erasure, restriction. Acknowledged within two
-- working days.
CREATE TABLE subject_request (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    tokens       TEXT NOT NULL,
    received     TEXT NOT NULL,
    due          TEXT NOT NULL,
    acknowledged TEXT NOT NULL,
    done         TEXT NOT NULL,
    taken_by     TEXT NOT NULL
);

-- The sealed boxes of scans that a case holds past the retention: still sealed, to be opened only
-- for a release.
CREATE TABLE held_scan (
    case_id TEXT    NOT NULL,
    scan    TEXT    NOT NULL,
    person  INTEGER NOT NULL,
    key     TEXT    NOT NULL,
    sealed  BLOB    NOT NULL,
    PRIMARY KEY (case_id, scan)
) WITHOUT ROWID;
