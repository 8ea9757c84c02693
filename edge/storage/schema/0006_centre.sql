-- By which keys a unit knows its centre, their ids with commas between them; "" where it has not said,
-- or believes whoever confirms.
ALTER TABLE unit ADD COLUMN centre TEXT NOT NULL DEFAULT '';
