-- What a clip's pictures look like in outline, to find it by a file that leaked. Erased with the clip.
CREATE TABLE fingerprints (
    clip  TEXT NOT NULL REFERENCES clips (id),
    -- cabin or road
    track TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (clip, track)
) STRICT, WITHOUT ROWID;

-- Files that leaked, and what was found. No picture, and nobody's name: ids, which are looked up when
-- somebody reads the report. Times are milliseconds since 1970.
CREATE TABLE traces (
    id       TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES grants (id),
    at       INTEGER NOT NULL,
    sha256   BLOB NOT NULL,
    bytes    INTEGER NOT NULL,
    -- NULL: it runs, or the server was stopped before it ended.
    ended_at INTEGER,
    -- JSON: what was found, or why nothing could be.
    found    TEXT
) STRICT;
CREATE INDEX traces_grant ON traces (grant_id);
