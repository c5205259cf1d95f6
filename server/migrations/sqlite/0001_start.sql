-- The fleet server's tables. Times are milliseconds since 1970; ids are UUIDs as text.

CREATE TABLE depots (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    login         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    -- Shown in the mark on every viewed frame.
    short_name    TEXT NOT NULL,
    role          TEXT NOT NULL,
    depot         TEXT REFERENCES depots (id),
    -- A driver's safety manager. None: the safety managers of the driver's depot.
    manager       TEXT REFERENCES users (id),
    password_hash TEXT NOT NULL,
    -- The salt of the person's tag in the access log; without it the log says nothing of them.
    log_salt      BLOB NOT NULL,
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX users_manager ON users (manager);

CREATE TABLE units (
    id                 TEXT PRIMARY KEY,
    depot              TEXT NOT NULL REFERENCES depots (id),
    -- waiting, enrolled or revoked
    status             TEXT NOT NULL,
    -- SHA-256 of the certificate's DER: how a call is matched to its unit.
    certificate_sha256 BLOB UNIQUE,
    -- Ed25519, 32 bytes: signs manifests. The same key as in the certificate.
    signing_public_key BLOB,
    enrolled_at        INTEGER,
    last_heartbeat_at  INTEGER,
    clock_error_ms     INTEGER,
    agent_version      TEXT,
    privacy_state      TEXT,
    spool_clips        INTEGER,
    spool_bytes        INTEGER,
    -- JSON: [{part, state, text}]
    health             TEXT NOT NULL DEFAULT '[]'
) STRICT;

CREATE TABLE enrolment_codes (
    code_sha256 BLOB PRIMARY KEY,
    unit        TEXT NOT NULL REFERENCES units (id),
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;

-- Who drove which unit when. Shifts of one unit never overlap: an event has one driver or none.
CREATE TABLE shifts (
    id         INTEGER PRIMARY KEY,
    unit       TEXT NOT NULL REFERENCES units (id),
    driver     TEXT NOT NULL REFERENCES users (id),
    from_at    INTEGER NOT NULL,
    to_at      INTEGER NOT NULL,
    CHECK (from_at < to_at)
) STRICT;
CREATE INDEX shifts_unit ON shifts (unit, from_at);
CREATE INDEX shifts_driver ON shifts (driver, from_at);

CREATE TABLE events (
    id                  TEXT PRIMARY KEY,
    unit                TEXT NOT NULL REFERENCES units (id),
    kind                TEXT NOT NULL,
    start_at            INTEGER NOT NULL,
    wall_uncertainty_ms INTEGER NOT NULL,
    end_at              INTEGER NOT NULL,
    severity            TEXT NOT NULL,
    confidence          REAL NOT NULL,
    rule                TEXT NOT NULL,
    -- JSON: [{name, value, unit}]
    numbers             TEXT NOT NULL,
    -- Several events may name one clip. It stays when the clip is lost.
    clip                TEXT,
    -- Why there is no clip, or why the one named will never come.
    clip_absent_because TEXT NOT NULL,
    received_at         INTEGER NOT NULL
) STRICT;
CREATE INDEX events_start ON events (start_at);
CREATE INDEX events_unit ON events (unit, start_at);
CREATE INDEX events_clip ON events (clip);

-- A clip is visible only when complete_at is set, and that is set only after its objects are
-- durable. The signed manifest also holds the wrapped key: deletion erases both.
CREATE TABLE clips (
    id          TEXT PRIMARY KEY,
    -- The first of the events that name it.
    event       TEXT NOT NULL REFERENCES events (id),
    unit        TEXT NOT NULL REFERENCES units (id),
    manifest    BLOB NOT NULL,
    signature   BLOB NOT NULL,
    -- The key that verified it: a unit that is enrolled again has another one.
    signing_public_key BLOB NOT NULL,
    duration_ms INTEGER NOT NULL,
    begun_at    INTEGER NOT NULL,
    complete_at INTEGER
) STRICT;

-- Apart from the objects that they open.
CREATE TABLE wrapped_keys (
    clip         TEXT PRIMARY KEY REFERENCES clips (id),
    key_id       TEXT NOT NULL,
    encapsulated BLOB NOT NULL,
    ciphertext   BLOB NOT NULL
) STRICT;

-- Only the SHA-256 of the cookie: who reads this table can take over no session.
CREATE TABLE sessions (
    token_sha256 BLOB PRIMARY KEY,
    user         TEXT NOT NULL REFERENCES users (id),
    created_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user);

-- One viewing of one clip. A row exists only after its entry in the access log is durable.
CREATE TABLE views (
    id         TEXT PRIMARY KEY,
    log_index  INTEGER NOT NULL UNIQUE,
    clip       TEXT NOT NULL REFERENCES clips (id),
    -- The event through which it was opened: the decision rests on its driver and time.
    event      TEXT NOT NULL REFERENCES events (id),
    user       TEXT NOT NULL REFERENCES users (id),
    -- NULL where the row was made again from the log after a crash: such a view shows nothing.
    session    BLOB,
    purpose    TEXT NOT NULL,
    opened_at  INTEGER NOT NULL,
    -- Names of the tracks whose stream was begun, in order, separated by spaces.
    streamed   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX views_clip ON views (clip);
CREATE INDEX views_user ON views (user);

-- Orders to units.
CREATE TABLE commands (
    id         TEXT PRIMARY KEY,
    unit       TEXT NOT NULL REFERENCES units (id),
    -- A serialised fleet.v1.Command.
    command    BLOB NOT NULL,
    -- The same in words, for the list.
    words      TEXT NOT NULL,
    user       TEXT NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    done_at    INTEGER,
    done       INTEGER,
    result     TEXT
) STRICT;
CREATE INDEX commands_open ON commands (unit) WHERE done_at IS NULL;
