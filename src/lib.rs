//! pytracingx: OpenTelemetry for latency-critical Python services.
//!
//! The whole data flow in one drawing. Left of the lanes runs in whatever thread records, right of them in one native
//! thread that never touches Python:
//!
//! ```text
//!   recording threads                             │ exporter thread (one; blocks in poll only)
//!                                                 │
//!   python ──► emit ───────────► lane ────────────┼──► batch ──► redact ──► encode ─────► exporter::sink ──► transport
//!   convert    span: storage,    64-byte header   │    plain     by rules   OTLP once     queue, retry,      HTTP/1.1, gRPC,
//!   arguments  ids, sampling     + items, one     │    data                 per (mask,    books, one         TLS, proxies;
//!   (fastcall, mask              release store    │      │                  limits)       request at a       stepped, never
//!    identity  log record           ▲             │      │ measurements       ▲  │        time               waited for
//!    cache)    measurement          │ blocks of   │      ▼                    │  └──────► exporter::console ──► stderr
//!                │                  │ one arena   │    aggregate: series ─────┘
//!                │ lane full        │             │      ▲                when a collection is due
//!                └► accumulate ─────┼─────────────┼──────┘
//!                                   │             │
//!                                   └─────────────┼── given back after the drain
//!                                                 │
//!   in reach of both sides: intern (names, keys,  │ clock: ticks → Unix time
//!   scopes), instruments (ids, streams by views), │
//!   tally (sums that calls keep themselves),      │
//!   log_routes (which sink wants which record)    │
//!                                                 │
//!   a Python worker runs callbacks ◄── observe ◄──┼── asks before a collection, waits a second at most
//!   session: init, shutdown, flush, fork ─────────┴──► starts the thread, publishes what emit records into
//! ```
//!
//! Where to look for what:
//!
//! - the data: [`record`] (the fixed part), [`attrs`] (the items behind it), [`ids`], [`context`] (W3C headers),
//!   [`mod@intern`]; between the two sides only [`lane`].
//! - what a call does: [`emit`], and in `python` how it gets there.
//! - spans: [`emit::LiveSpan`], [`sampler`] (which sinks want a trace).
//! - metrics: [`instruments`] (what there is, and the streams that views make of it), [`tally`] (counters that count by
//!   themselves), [`accumulate`] (cells: sums, buckets),
//!   [`aggregate`] (series, temporality, exemplars, points), [`observe`] (instruments that are asked).
//! - log records: [`log_routes`] (which destination wants which).
//! - LLM requests and scheduler steps, made of the above: [`generation`].
//! - what becomes of a record: [`batch`], [`redact`], [`encode`] (through a [`room`]), [`exporter`], [`transport`].
//! - what the user said: [`config`], [`limits`], [`resource`]; what happened: [`stats`], [`diagnostics`].
//! - the operating system: [`sys`]; time: [`clock`]; the start and the end: [`session`].
//!
//! A module uses only rows above its own (`tests/rust/layering.rs` has the table and enforces it). The hot side
//! ([`emit`]) and the cold side never name each other; they meet in [`lane`], and for what is rare in the registries that
//! both read. After [`batch`] everything is single-threaded plain data.

// In the order of the rows.
pub mod clock;
pub mod error;
pub mod room;
mod sync;
pub mod sys;
pub mod tally;

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

pub mod generation;

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
