-- Form 3: sums by hour with latencies, days made of hours that are over, and entries whose cost is fetched later. Hours are
-- counted from 1970-01-01T00:00Z like days. A status of 0 stands for none.

DROP VIEW totals;
DROP VIEW tail;

ALTER TABLE entries ADD COLUMN waited_ms INTEGER;           -- how long its request waited for a key just before it
ALTER TABLE entries ADD COLUMN cache_write_tokens INTEGER;
ALTER TABLE entries ADD COLUMN upstream_cost INTEGER;       -- what a provider took besides `cost`, from the account's own key
ALTER TABLE entries ADD COLUMN code INTEGER;                -- of an error that the answer told under a status of success
ALTER TABLE entries ADD COLUMN settled INTEGER;             -- NULL as the answer said, 0 to be fetched, 1 fetched, 2 never known

-- `rolled`: the hours before this one are in `days` too. `since_ms`: when this database began.
ALTER TABLE state ADD COLUMN rolled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
UPDATE state SET since_ms = ifnull((SELECT min(at_ms) FROM entries), 0);

-- `first_byte` counts durations by size: pairs of a byte, the size, and a varint, how many (see histogram.rs).
CREATE TABLE hours (
    hour               INTEGER NOT NULL,
    key                INTEGER NOT NULL,
    caller             INTEGER NOT NULL,
    model              INTEGER NOT NULL,
    status             INTEGER NOT NULL,
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
    PRIMARY KEY (hour, key, caller, model, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE days (
    day                INTEGER NOT NULL,
    key                INTEGER NOT NULL,
    caller             INTEGER NOT NULL,
    model              INTEGER NOT NULL,
    status             INTEGER NOT NULL,
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
    PRIMARY KEY (day, key, caller, model, status)
) STRICT, WITHOUT ROWID;

-- What was summed by day alone stands at the day's first hour.
INSERT INTO hours
SELECT day * 24, key, caller, model, 0, requests, attempts, failed, 0, 0, prompt_tokens, completion_tokens,
       reasoning_tokens, cached_tokens, 0, cost, 0, NULL
FROM sums;
DROP TABLE sums;

-- Entries whose figures are still to be fetched from upstream, and when.
CREATE TABLE settling (
    entry  INTEGER PRIMARY KEY,
    tries  INTEGER NOT NULL,
    due_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX settling_due ON settling (due_ms);

CREATE VIEW tail AS
SELECT
    at_ms / 3600000                  AS hour,
    key,
    caller,
    model,
    ifnull(status, 0)                AS status,
    number = 1                       AS requests,
    1                                AS attempts,
    ifnull(outcome = 1, 0)           AS failed,
    ifnull(waited_ms > 0, 0)         AS waits,
    ifnull(settled = 2, 0)           AS unsettled,
    ifnull(prompt_tokens, 0)         AS prompt_tokens,
    ifnull(completion_tokens, 0)     AS completion_tokens,
    ifnull(reasoning_tokens, 0)      AS reasoning_tokens,
    ifnull(cached_tokens, 0)         AS cached_tokens,
    ifnull(cache_write_tokens, 0)    AS cache_write_tokens,
    ifnull(cost, 0)                  AS cost,
    ifnull(upstream_cost, 0)         AS upstream_cost,
    first_byte_ms
FROM entries
WHERE id > (SELECT summed FROM state);

-- All of it by day, each attempt once.
CREATE VIEW totals AS
SELECT day, key, caller, model, status, requests, attempts, failed, waits, unsettled, prompt_tokens, completion_tokens,
       reasoning_tokens, cached_tokens, cache_write_tokens, cost, upstream_cost
FROM days
UNION ALL
SELECT hour / 24, key, caller, model, status, requests, attempts, failed, waits, unsettled, prompt_tokens,
       completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, cost, upstream_cost
FROM hours
WHERE hour >= (SELECT rolled FROM state)
UNION ALL
SELECT hour / 24, key, caller, model, status, requests, attempts, failed, waits, unsettled, prompt_tokens,
       completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, cost, upstream_cost
FROM tail;

PRAGMA user_version = 3;
