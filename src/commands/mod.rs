//! The subcommands: a match.
