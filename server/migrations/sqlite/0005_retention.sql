-- How long clips are kept, and their deletion. Times are milliseconds since 1970.

-- Kept beyond its usual time until then.
ALTER TABLE clips ADD COLUMN keep_until INTEGER;
-- The entry of the access log that says that the clip is to be deleted: from then on nobody sees it.
ALTER TABLE clips ADD COLUMN delete_index INTEGER;
-- Key and objects are gone. The row stays without its manifest, so that a unit that sends the clip
-- again is told that it may forget it.
ALTER TABLE clips ADD COLUMN deleted_at INTEGER;
CREATE INDEX clips_deleting ON clips (delete_index) WHERE deleted_at IS NULL;

-- Kept for a legal ground: not deleted while it holds.
CREATE TABLE holds (
    id          TEXT PRIMARY KEY,
    clip        TEXT NOT NULL REFERENCES clips (id),
    event       TEXT NOT NULL REFERENCES events (id),
    ground      TEXT NOT NULL,
    -- The legal ground on which the driver is not told; empty: the driver is told.
    not_told    TEXT NOT NULL,
    by          TEXT NOT NULL REFERENCES users (id),
    at          INTEGER NOT NULL,
    released_by TEXT REFERENCES users (id),
    released_at INTEGER,
    CHECK ((released_by IS NULL) = (released_at IS NULL))
) STRICT;
CREATE INDEX holds_clip ON holds (clip);
