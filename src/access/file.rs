//! `allow.txt`: read strictly, appended to under a lock, and new access tokens.
