-- What each collector knows of the time, by which it erases: see known_time.py. at: it is no earlier than
-- this, as far as is known, '' if nothing is; erases_by: the earlier of that, its clock and what units
-- say, '' for none; vouched: what vouched for it last, ntp, gnss, person, or rtc where nothing better did;
-- clock, boot and uptime_ms: how it was noted; trouble: why at is not what the clock says, and off_s by how
-- much the clock is ahead of it, in seconds.
CREATE TABLE keeping_time (
    collector TEXT    NOT NULL PRIMARY KEY,
    at        TEXT    NOT NULL,
    erases_by TEXT    NOT NULL,
    vouched   TEXT    NOT NULL,
    clock     TEXT    NOT NULL,
    boot      TEXT    NOT NULL,
    uptime_ms INTEGER NOT NULL,
    trouble   TEXT    NOT NULL,
    off_s     INTEGER NOT NULL
);
