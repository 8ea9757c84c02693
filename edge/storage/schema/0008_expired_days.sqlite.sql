-- As 0008_expired_days.postgresql.sql.
CREATE TABLE expired_day (
    day TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE day_ahead (
    day     TEXT NOT NULL PRIMARY KEY,
    noticed TEXT NOT NULL
) WITHOUT ROWID;

WITH RECURSIVE past (day, days) AS (
    SELECT date(min(expired_before, date('now')), '-1 day'), 1 FROM feed WHERE expired_before <> ''
    UNION ALL
    SELECT date(day, '-1 day'), days + 1 FROM past WHERE days < 400
)
INSERT INTO expired_day (day) SELECT day FROM past;
