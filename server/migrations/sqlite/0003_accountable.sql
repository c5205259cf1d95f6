-- Grants, and the access log as people read it. Times are milliseconds since 1970.

-- A permission beyond a role, from the asking on. What is live is computed, never stored: a grant
-- ends by itself.
CREATE TABLE grants (
    id         TEXT PRIMARY KEY,
    -- lift_blur, export, retention, request, break_glass or diagnostics
    kind       TEXT NOT NULL,
    asker      TEXT NOT NULL REFERENCES users (id),
    purpose    TEXT NOT NULL,
    -- The request's number, where it has one.
    number     TEXT NOT NULL,
    words      TEXT NOT NULL,
    -- What it covers: one event, one unit, or what a driver or unit did in a time.
    event      TEXT REFERENCES events (id),
    unit       TEXT REFERENCES units (id),
    driver     TEXT REFERENCES users (id),
    from_at    INTEGER,
    to_at      INTEGER,
    asked_at   INTEGER NOT NULL,
    -- Nobody may decide later.
    decide_by  INTEGER NOT NULL,
    -- How long it holds once it is granted, milliseconds.
    holds_ms   INTEGER NOT NULL,
    -- granted or refused
    decision   TEXT CHECK (decision IN ('granted', 'refused')),
    -- NULL where the kind needs no second person.
    decided_by TEXT REFERENCES users (id),
    decided_at INTEGER,
    reason     TEXT NOT NULL DEFAULT '',
    ended_at   INTEGER,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK (decided_by IS NULL OR decided_by <> asker)
) STRICT;
CREATE INDEX grants_asker ON grants (asker, asked_at);
CREATE INDEX grants_event ON grants (event);

-- One row for each entry of the access log, after the entry is durable. The log is the truth: these
-- rows are made again from it where a crash came between.
CREATE TABLE acts (
    log_index INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    action    TEXT NOT NULL,
    actor     TEXT REFERENCES users (id),
    -- Whom it concerns: who drove.
    driver    TEXT REFERENCES users (id),
    event     TEXT,
    clip      TEXT,
    view      TEXT,
    grant_id  TEXT,
    purpose   TEXT
) STRICT;
CREATE INDEX acts_actor ON acts (actor, log_index);
CREATE INDEX acts_driver ON acts (driver, log_index);
CREATE INDEX acts_clip ON acts (clip, log_index);

-- Viewings of what was opened before this table was made are carried over; how much of each camera
-- was sent is a table of its own.
CREATE TABLE views_new (
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
    -- The grant that it was opened under: a request, break-glass, or an export's.
    grant_id   TEXT REFERENCES grants (id)
) STRICT;
INSERT INTO views_new SELECT id, log_index, clip, event, user, session, purpose, opened_at, NULL
FROM views;

CREATE TABLE watched (
    view     TEXT NOT NULL REFERENCES views_new (id),
    track    TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    -- Length of the video that was sent, milliseconds.
    sent_ms  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (view, track)
) STRICT, WITHOUT ROWID;
INSERT INTO watched SELECT id, t.name, opened_at, 0
FROM views, (SELECT 'road' AS name UNION SELECT 'cabin') t WHERE instr(' ' || streamed || ' ', ' ' || t.name || ' ');
DROP TABLE views;
ALTER TABLE views_new RENAME TO views;
CREATE INDEX views_clip ON views (clip);
CREATE INDEX views_user ON views (user);

-- Who put the unit in.
ALTER TABLE units ADD COLUMN installer TEXT REFERENCES users (id);
