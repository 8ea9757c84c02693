-- Who commanded what, when, and what became of it. A row is written before anything is sent, and
-- none is ever taken out.
CREATE TABLE command (
    id       TEXT NOT NULL PRIMARY KEY,
    unit     TEXT NOT NULL,
    action   TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked    TEXT NOT NULL,
    expires  TEXT NOT NULL,
    state    TEXT NOT NULL,                    -- waiting, sent, executing, successful, failed, expired
    changed  TEXT NOT NULL,
    reason   TEXT NOT NULL DEFAULT '',
    detail   TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE INDEX command_open ON command (state, unit);
CREATE INDEX command_unit ON command (unit, asked);

-- What was desired, of all units, an area, a place or one unit. The newest of each scope is in
-- force; the others are the history.
CREATE TABLE desired (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    scope    TEXT NOT NULL,                    -- all, area:<name>, place:<name> or unit:<name>
    settings TEXT NOT NULL,                    -- JSON: tables and keys as in scanner.toml
    set_by   TEXT NOT NULL,
    set_at   TEXT NOT NULL
);

-- What each unit said last of its desired settings.
CREATE TABLE unit_config (
    unit     TEXT NOT NULL PRIMARY KEY,
    revision TEXT NOT NULL,                    -- that it runs by
    asked    TEXT NOT NULL DEFAULT '',         -- that it was sent last
    sent     TEXT NOT NULL DEFAULT '',
    state    TEXT NOT NULL DEFAULT '',         -- executing, successful, failed: of the one sent last
    reason   TEXT NOT NULL DEFAULT '',
    changed  TEXT NOT NULL
) WITHOUT ROWID;
