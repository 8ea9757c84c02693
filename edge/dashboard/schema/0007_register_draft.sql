-- Registers that were handed in and looked at, but not yet taken.
CREATE TABLE register_draft (
    id      TEXT    NOT NULL PRIMARY KEY,
    person  TEXT    NOT NULL,
    made    TEXT    NOT NULL,
    version INTEGER NOT NULL,           -- of the register that it was compared with
    remove  INTEGER NOT NULL,           -- whether places that it lacks are to go
    content TEXT    NOT NULL
);
