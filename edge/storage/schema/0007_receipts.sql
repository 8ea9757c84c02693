-- What orders of the tracing desk have erased, put in by the very transaction that erased it, until the
-- receipt is written: whoever erases may be killed between the two. order_hash is the SHA-256 of the
-- order's file.
CREATE TABLE receipt_due (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    order_hash TEXT    NOT NULL,
    ordered    INTEGER NOT NULL,
    identities INTEGER NOT NULL
);
