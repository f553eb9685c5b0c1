//! The exporter thread.
