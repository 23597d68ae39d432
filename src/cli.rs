//! Every flag and subcommand; no logic.
