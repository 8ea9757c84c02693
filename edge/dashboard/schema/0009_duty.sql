-- Which dashboard does what must be done once: mail, reports, alarms, what is passed on. One row.
-- turn grows as long as the holder lives; holder is '' when it has left.
CREATE TABLE duty (
    only_row INTEGER NOT NULL PRIMARY KEY,
    holder   TEXT    NOT NULL,
    turn     INTEGER NOT NULL
);

INSERT INTO duty (only_row, holder, turn) VALUES (1, '', 0);
