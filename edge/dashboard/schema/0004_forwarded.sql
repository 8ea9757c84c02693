-- How far another authority's system has taken what is passed on to it.

CREATE TABLE forwarded (
    name     TEXT NOT NULL PRIMARY KEY,
    position TEXT NOT NULL
);
