//! Resource detection: what this process can say about itself.
