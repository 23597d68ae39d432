//! The choice of a key: the one used least today, lent out as a lease.
