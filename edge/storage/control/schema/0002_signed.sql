-- The number of the desired settings that a unit was sent last: each has a higher one.
ALTER TABLE unit_config ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
