-- Sessions whose token changes, second factors, and what a person is told when they sign in next.
-- Times are milliseconds since 1970.

-- The rows before had no id that stays when the token changes: everybody signs in again.
DROP TABLE sessions;

CREATE TABLE sessions (
    -- Random; never leaves the server. Form tokens and the names in the list are made from it.
    id             BLOB PRIMARY KEY,
    user           TEXT NOT NULL REFERENCES users (id),
    created_at     INTEGER NOT NULL,
    used_at        INTEGER NOT NULL,
    -- code: the password was right, the second factor is awaited. set_up: the role needs a second
    -- factor and has none. whole: signed in.
    stage          TEXT NOT NULL CHECK (stage IN ('code', 'set_up', 'whole')),
    -- When the person last gave password or code.
    proved_at      INTEGER NOT NULL,
    -- When a token was last offered to the browser.
    offered_at     INTEGER NOT NULL,
    agent_sha256   BLOB NOT NULL,
    -- Family and system in words, for the person's own list.
    browser        TEXT NOT NULL,
    -- P-256 point, 65 bytes; NULL: the browser has no key, so it is shown no picture.
    public_key     BLOB,
    -- A sealed TOTP secret that waits for its first code.
    pending_secret BLOB
) STRICT;
CREATE INDEX sessions_user ON sessions (user);

-- Only the SHA-256 of each cookie: who reads this table can take over no session. Old ones stay as
-- long as the session: if one is used again, somebody else has it.
CREATE TABLE session_tokens (
    token_sha256 BLOB PRIMARY KEY,
    session      BLOB NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- When the browser first sent it; NULL: offered, perhaps never received.
    seen_at      INTEGER,
    -- When the browser first sent a later one.
    replaced_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX session_tokens_session ON session_tokens (session);

CREATE TABLE second_factors (
    user      TEXT PRIMARY KEY REFERENCES users (id),
    -- Sealed under the key in `sign-in.key`: a copy of this database gives no code.
    secret    BLOB NOT NULL,
    -- The time step of the last code that was taken: no code counts twice.
    last_step INTEGER NOT NULL,
    set_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- HMAC-SHA256 of each recovery code under the same key. One that was used has no row.
CREATE TABLE recovery_codes (
    user      TEXT NOT NULL REFERENCES users (id),
    code_hmac BLOB NOT NULL,
    PRIMARY KEY (user, code_hmac)
) STRICT, WITHOUT ROWID;

-- What happened to an account without its person, until they have read it.
CREATE TABLE notices (
    id   INTEGER PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (id),
    at   INTEGER NOT NULL,
    what TEXT NOT NULL
) STRICT;
CREATE INDEX notices_user ON notices (user);
