-- What each collector has had a broker keep for it: its sessions there, and what each hears. Written before
-- it is asked for, and gone when it has been ended; a broker tells nobody what it keeps.
CREATE TABLE broker_session (
    collector TEXT NOT NULL,
    name      TEXT NOT NULL,
    filter    TEXT NOT NULL,
    PRIMARY KEY (collector, name, filter)
) WITHOUT ROWID;
