-- Every day whose table was ever taken away: what is held, is of one of them and is no row was one. A
-- wrong clock of the centre may have taken away days that are not over, so that no single day stands for
-- all before it.
CREATE TABLE expired_day (
    day TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

-- Days that have a table and are of the future, which a clock said that was wrong when they came in.
-- They are kept from when it was noticed, since nobody knows of when they are.
CREATE TABLE day_ahead (
    day     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    noticed TEXT COLLATE "C" NOT NULL
);

INSERT INTO expired_day (day)
SELECT to_char(least(CAST(expired_before AS date), current_date) - days, 'YYYY-MM-DD')
FROM feed, generate_series(1, 400) AS days WHERE expired_before <> '';
