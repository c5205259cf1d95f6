-- What was done on the command line beside the running server, which alone has the access log open:
-- it writes these into the log within a second or two. Times are milliseconds since 1970.
CREATE TABLE acts_to_log (
    id        INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    action    TEXT NOT NULL,
    -- Whose account it is; an account that is about to be made is named too.
    concerned TEXT
) STRICT;
