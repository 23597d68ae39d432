//! An `OpenRouter` look-alike: accounts, quotas, faults, streams; for `demo` and for tests.
