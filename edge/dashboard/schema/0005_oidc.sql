-- People who sign in at another server (OpenID Connect), and sign-ins that have begun there.

-- subject is what that server calls a person, and never changes; the account's name may be another.
CREATE TABLE person_link (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    person  TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
);

-- state and browser are hashes: of what comes back in the address, and of what the browser holds.
CREATE TABLE sign_in_begun (
    state    TEXT NOT NULL PRIMARY KEY,
    browser  TEXT NOT NULL,
    nonce    TEXT NOT NULL,
    verifier TEXT NOT NULL,
    goal     TEXT NOT NULL,
    begun    TEXT NOT NULL
);

-- The token by which the other server knows which of its sessions is to end with this one.
ALTER TABLE web_session ADD COLUMN hint TEXT NOT NULL DEFAULT '';
