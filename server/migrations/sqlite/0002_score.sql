-- What the score, objections and corrected limits need. Times are milliseconds since 1970.

-- A driver's objection to an own event, and its answer. One for each event.
CREATE TABLE contests (
    event       TEXT PRIMARY KEY REFERENCES events (id),
    driver      TEXT NOT NULL REFERENCES users (id),
    words       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    -- upheld or overturned; all four are NULL until somebody answers.
    answer      TEXT CHECK (answer IN ('upheld', 'overturned')),
    reason      TEXT,
    answered_by TEXT REFERENCES users (id),
    answered_at INTEGER,
    CHECK ((answer IS NULL) = (answered_by IS NULL))
) STRICT;

-- Where the distance counter of a unit's latest runs stands: what came before is in `driven`.
CREATE TABLE runs (
    unit     TEXT NOT NULL REFERENCES units (id),
    run      BLOB NOT NULL,
    driven_m REAL NOT NULL,
    heard_at INTEGER NOT NULL,
    PRIMARY KEY (unit, run)
) STRICT;

-- How far somebody drove with a unit on a day (UTC, days since 1970). Nothing finer is kept: when
-- and where within the day is nobody's business.
CREATE TABLE driven (
    driver   TEXT NOT NULL REFERENCES users (id),
    unit     TEXT NOT NULL REFERENCES units (id),
    day      INTEGER NOT NULL,
    driven_m REAL NOT NULL,
    PRIMARY KEY (driver, unit, day)
) STRICT;

-- When a part of a unit did not work properly. Open while to_at is NULL. It begins with the last
-- heartbeat in which the part was fine.
CREATE TABLE faults (
    unit    TEXT NOT NULL REFERENCES units (id),
    part    TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER
) STRICT;
CREATE INDEX faults_unit ON faults (unit, from_at);
CREATE UNIQUE INDEX faults_open ON faults (unit, part) WHERE to_at IS NULL;

-- 'The limit is wrong here.' Who decides sees the place and the limits, not the driver or the event.
CREATE TABLE limit_proposals (
    id           INTEGER PRIMARY KEY,
    event        TEXT NOT NULL UNIQUE REFERENCES events (id),
    driver       TEXT NOT NULL REFERENCES users (id),
    lat_deg      REAL NOT NULL,
    lon_deg      REAL NOT NULL,
    heading_deg  REAL NOT NULL,
    -- The limit that the unit took, km/h.
    taken_kmh    REAL,
    -- What the driver proposes, km/h. NULL: the limit here is not known.
    proposed_kmh REAL,
    words        TEXT NOT NULL,
    at           INTEGER NOT NULL,
    -- accepted or refused; all four are NULL until somebody decides.
    decision     TEXT CHECK (decision IN ('accepted', 'refused')),
    reason       TEXT,
    decided_by   TEXT REFERENCES users (id),
    decided_at   INTEGER,
    CHECK ((decision IS NULL) = (decided_by IS NULL))
) STRICT;
