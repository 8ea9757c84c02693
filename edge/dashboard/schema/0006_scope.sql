-- What a manager has beside single places: every place of a body, in an area, or every vehicle of an
-- operator, also those that the register gets later.
CREATE TABLE person_scope (
    person TEXT NOT NULL,
    kind   TEXT NOT NULL,               -- body, area or operator
    value  TEXT NOT NULL,
    PRIMARY KEY (person, kind, value)
);
