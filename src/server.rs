//! Accepts connections and serves them: permits, timeouts, drain. It knows nothing of proxying.
