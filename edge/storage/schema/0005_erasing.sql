-- Days that were taken away from every question and are being erased, piece by piece, under another
-- name: the table gone_1 and, on SQLite, gone_1_1, gone_1_2 and so on, which were its indexes.
CREATE TABLE gone (
    number INTEGER NOT NULL PRIMARY KEY,
    day    TEXT    NOT NULL
);

-- One row: what is being erased. began is when it was taken away, '' if nothing is being erased;
-- scans and set_aside are how many of them are erased already.
CREATE TABLE erasing (
    only_row   INTEGER NOT NULL PRIMARY KEY,
    began      TEXT    NOT NULL,
    before_day TEXT    NOT NULL,
    scans      INTEGER NOT NULL,
    set_aside  INTEGER NOT NULL
);

INSERT INTO erasing (only_row, began, before_day, scans, set_aside) VALUES (1, '', '', 0, 0);
