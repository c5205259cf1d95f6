-- Records expire too. Times are milliseconds since 1970.

-- An accepted limit outlives the event that it came of, and whoever proposed it.
CREATE TABLE limit_proposals_new (
    id           INTEGER PRIMARY KEY,
    -- NULL: the event is forgotten.
    event        TEXT UNIQUE REFERENCES events (id),
    driver       TEXT REFERENCES users (id),
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
    CHECK ((decision IS NULL) = (decided_by IS NULL)),
    CHECK ((event IS NULL) = (driver IS NULL)),
    CHECK (event IS NOT NULL OR decision = 'accepted')
) STRICT;
INSERT INTO limit_proposals_new SELECT * FROM limit_proposals;
DROP TABLE limit_proposals;
ALTER TABLE limit_proposals_new RENAME TO limit_proposals;

CREATE INDEX events_received ON events (received_at);

-- When the account was last switched off; of accounts that are off already, now.
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
UPDATE users SET disabled_at = unixepoch() * 1000 WHERE disabled;
-- Nothing of the person is left in the row.
ALTER TABLE users ADD COLUMN erased_at INTEGER;
