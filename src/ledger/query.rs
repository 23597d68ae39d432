//! What is read back from the ledger: use today, and the reports behind `stats`.
