//! The one thread that owns the write connection: takes what was reported, at most 100 ms late, in one
//! transaction.
