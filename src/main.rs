//! The binary: parse, run, print the error, exit code; nothing else.

fn main() {}
