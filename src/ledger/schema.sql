-- The ledger, form 1. Times are milliseconds since 1970 (UTC), days are counted from 1970-01-01 (UTC), durations are
-- milliseconds, costs are nano-dollars (1e-9 USD).

-- Names of keys, callers, models and paths; the other tables hold their ids.
CREATE TABLE names (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row an attempt. It is complete when `outcome` says so; the columns behind it are NULL where nothing is known.
CREATE TABLE entries (
    id                INTEGER PRIMARY KEY,
    request           INTEGER NOT NULL,   -- attempts of one request share it
    number            INTEGER NOT NULL,   -- 1 for the request's first attempt
    at_ms             INTEGER NOT NULL,   -- when it left
    caller            INTEGER NOT NULL,
    key               INTEGER NOT NULL,
    model             INTEGER NOT NULL,   -- the empty name where the request names none
    path              INTEGER NOT NULL,
    outcome           INTEGER,            -- NULL open, 0 complete, 1 failed, 2 cancelled, 3 lost (its process died)
    status            INTEGER,
    bytes             INTEGER,
    first_byte_ms     INTEGER,
    duration_ms       INTEGER,
    generation        TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    reasoning_tokens  INTEGER,
    cached_tokens     INTEGER,
    cost              INTEGER
) STRICT;

-- Finds what a process that died left open, without reading the whole table.
CREATE INDEX entries_open ON entries (id) WHERE outcome IS NULL;

-- The same, added up, but for the newest entries: those beyond `state.summed`, which are added a few thousand at a time,
-- since an update of many sums costs more than a row at the end of a table. `totals` has both and is what to read. The day
-- is the one on which the attempt left, also for its tokens and its cost; a request stands with the key of its last attempt
-- (the entry of a first attempt counts one; where a later one moved it, the difference stands here).
CREATE TABLE sums (
    day               INTEGER NOT NULL,
    key               INTEGER NOT NULL,
    caller            INTEGER NOT NULL,
    model             INTEGER NOT NULL,
    requests          INTEGER NOT NULL,
    attempts          INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens  INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    cost              INTEGER NOT NULL,
    PRIMARY KEY (day, key, caller, model)
) STRICT, WITHOUT ROWID;

-- One row: the next number of a request, the number of the last batch that was committed, and the last entry that is
-- in the sums. Ids must not be given again: whoever deletes entries leaves the newest.
CREATE TABLE state (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    next_request INTEGER NOT NULL,
    batch        INTEGER NOT NULL,
    summed       INTEGER NOT NULL
) STRICT;

INSERT INTO state (id, next_request, batch, summed) VALUES (1, 1, 0, 0);

CREATE VIEW tail AS
SELECT
    at_ms / 86400000                AS day,
    key,
    caller,
    model,
    number = 1                      AS requests,
    1                               AS attempts,
    ifnull(outcome = 1, 0)          AS failed,
    ifnull(prompt_tokens, 0)        AS prompt_tokens,
    ifnull(completion_tokens, 0)    AS completion_tokens,
    ifnull(reasoning_tokens, 0)     AS reasoning_tokens,
    ifnull(cached_tokens, 0)        AS cached_tokens,
    ifnull(cost, 0)                 AS cost
FROM entries
WHERE id > (SELECT summed FROM state);

CREATE VIEW totals AS
SELECT * FROM sums
UNION ALL
SELECT * FROM tail;

PRAGMA user_version = 1;
