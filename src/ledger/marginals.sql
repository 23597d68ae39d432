-- Form 4: hours that are in `days`, by one dimension alone, so that a month by hour is read from a few rows an hour and not
-- from all of its cells.

-- `dimension`: 0 for all of an hour together, 1 by key, 2 by caller, 3 by model, 4 by status. `id`: that of the name, the
-- status itself, or 0 for all together.
CREATE TABLE marginals (
    dimension          INTEGER NOT NULL,
    hour               INTEGER NOT NULL,
    id                 INTEGER NOT NULL,
    requests           INTEGER NOT NULL,
    attempts           INTEGER NOT NULL,
    failed             INTEGER NOT NULL,
    waits              INTEGER NOT NULL,
    unsettled          INTEGER NOT NULL,
    prompt_tokens      INTEGER NOT NULL,
    completion_tokens  INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cached_tokens      INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cost               INTEGER NOT NULL,
    upstream_cost      INTEGER NOT NULL,
    first_byte         BLOB,
    PRIMARY KEY (dimension, hour, id)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
