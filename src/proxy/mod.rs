//! The request path: from a caller's request to the answer that passes back.
