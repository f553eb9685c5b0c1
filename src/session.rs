//! A session: everything between `init` and `shutdown`.
