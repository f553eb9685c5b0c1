//! One page that a forked child finds zeroed.
