-- What was erased from the index and does not stand in the audit yet, put in by the very transaction that
-- erased it: the desk may be killed between the two. facts: those of the entry, as JSON.
CREATE TABLE audit_due (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    who    TEXT    NOT NULL,
    facts  TEXT    NOT NULL
);
