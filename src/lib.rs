//! pytracingx: OpenTelemetry for latency-critical Python services.
//!
//! The whole data flow in one drawing. Left of the lanes runs in whatever thread records, right of them in one native
//! thread that never touches Python:
//!
//! ```text
//!   recording threads                             │ exporter thread (one; blocks in poll only)
//!                                                 │
//!   python  ──► emit ──────────► lane ────────────┼──► batch ──► encode ──► exporter::sink ──► transport
//!   convert     LiveSpan         64-byte header   │    plain     OTLP once   queue, retry,     HTTP/1.1 + TLS,
//!   arguments   storage, ids,    + items, one     │    data      per (mask,  books, one        stepped, never
//!   (fastcall,  sampling mask    release store    │              limits)     request at a      waited for
//!    identity        │              ▲             │      ▲          │        time
//!    cache)          ▼              │ blocks of   │      │          └──► exporter::console ──► stderr
//!                 intern            │ one arena   │    clock (ticks → Unix time)
//!                 (names, keys)     └─────────────┼── given back after the drain
//!                                                 │
//!   session: init, shutdown, flush, fork ─────────┴──► starts the thread, publishes what emit records into
//! ```
//!
//! Where to look for what:
//!
//! - the data: [`record`] (the fixed part), [`attrs`] (the items behind it), [`ids`], [`context`] (W3C headers),
//!   [`mod@intern`]; between the two sides only [`lane`].
//! - what a call does: [`emit`], and in `python` how it gets there.
//! - what becomes of a record: [`batch`], [`encode`], [`exporter`], [`transport`].
//! - what the user said: [`config`], [`limits`], [`sampler`], [`resource`]; what happened: [`stats`], [`diagnostics`].
//! - the operating system: [`sys`]; time: [`clock`]; the start and the end: [`session`].
//!
//! A module uses only rows above its own (`tests/rust/layering.rs` has the table and enforces it). The hot side
//! ([`emit`]) and the cold side never name each other; they meet in [`lane`]. After [`batch`] everything is
//! single-threaded plain data.

// In the order of the rows.
pub mod clock;
pub mod error;
mod sync;
pub mod sys;

pub mod attrs;
pub mod context;
pub mod ids;
pub mod intern;
pub mod record;

pub mod lane;

pub mod config;
pub mod diagnostics;
pub mod instruments;
pub mod limits;
pub mod log_routes;
pub mod observe;
pub mod resource;
pub mod sampler;
pub mod stats;

pub mod accumulate;

pub mod batch;
pub mod emit;

pub mod aggregate;
pub mod redact;

pub mod encode;

#[cfg(feature = "net")]
pub mod transport;

#[cfg(feature = "net")]
pub mod exporter;
#[cfg(feature = "net")]
pub mod session;

#[cfg(feature = "python")]
mod python;
