-- Reports that were made; their files are in the folder of the settings.

CREATE TABLE report (
    period TEXT NOT NULL,
    last   TEXT NOT NULL,               -- the last local day it is about
    made   TEXT NOT NULL,
    mailed TEXT,                        -- when it was handed to the mail server
    copied TEXT,                        -- when it was laid into the folder for others
    PRIMARY KEY (period, last)
);
