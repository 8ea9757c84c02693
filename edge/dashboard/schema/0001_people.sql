-- Who may sign in, and the sessions that run. Numbered files are never edited after a release.

CREATE TABLE person (
    name     TEXT    NOT NULL PRIMARY KEY,
    role     TEXT    NOT NULL,
    password TEXT    NOT NULL,             -- Argon2id, with its salt and costs
    active   INTEGER NOT NULL,
    created  TEXT    NOT NULL
);

-- The places of a manager, who sees no others.
CREATE TABLE person_place (
    person TEXT NOT NULL,
    place  TEXT NOT NULL,
    PRIMARY KEY (person, place)
);

-- token is the hash of what the browser holds.
CREATE TABLE web_session (
    token   TEXT NOT NULL PRIMARY KEY,
    person  TEXT NOT NULL,
    created TEXT NOT NULL,
    used    TEXT NOT NULL
);

CREATE INDEX web_session_person ON web_session (person);
