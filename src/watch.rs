//! Tells when `tokens.csv` or `allow.txt` changed.
