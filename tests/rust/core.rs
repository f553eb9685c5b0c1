//! The part of the core below the network, in a binary that needs no C code: sanitizer builds take it.

mod accumulate;
mod aggregate;
mod aggregate_bounds;
mod aggregate_rig;
mod batch;
mod generation;
mod lane;
mod lane_threads;
mod layering;
mod room;
mod tally;
