-- Form 2: small facts of others, the latest of each kind and id. The oldest have the smallest numbers, and go first.
CREATE TABLE notes (
    seq   INTEGER PRIMARY KEY,
    kind  TEXT NOT NULL,
    id    TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, id)
) STRICT;

PRAGMA user_version = 2;
