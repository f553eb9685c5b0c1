//! A session: everything between `init` and `shutdown`, and its rebirth in a forked child.
//!
//! Any thread may call anything here at any time. Nothing here touches Python; waiting is bounded by the caller's
//! timeout and can be given up. Starting and stopping happen under the lifecycle lock of the fork-wiped page, which a
//! forked child always finds free.
//!
//! After a fork the child finds the session word wiped while [`mod@current`] still holds the parent's session. The first
//! recording call builds a session of the child's own from its configuration ([`revive`]); a child that records nothing
//! starts no thread.

mod check;
mod current;
mod sinks;
mod sls;

pub use check::Report;
pub use sinks::Captured;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::current::{Current, current, install};
use self::sinks::{Exchanges, Origin};
use crate::config::{Config, Resource};
use crate::emit::{self, Intake};
use crate::error::Error;
use crate::exporter::console::{Console, Layout, Shown};
use crate::exporter::flush::Goal;
use crate::exporter::request::after;
use crate::exporter::{self, Parts, Recorded, Shared};
use crate::instruments::Instruments;
use crate::lane::Lanes;
use crate::limits::{LogLimits, SpanLimits};
use crate::redact::Redactor;
use crate::resource;
use crate::sampler::Sampler;
use crate::stats::Snapshot;
use crate::sys::fork::lifecycle_lock;
use crate::sys::{fork, stderr};
use crate::transport::sls_credentials::Credentials;

/// How much longer than its timeout a call waits for the exporter's last word.
const GRACE: Duration = Duration::from_millis(50);
/// `should_stop` is asked so often.
const SLICE: Duration = Duration::from_millis(50);
/// Observable instruments have at most so long to answer before recording ends.
const OBSERVE_FOR: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/x-protobuf";

/// A child goes on counting where its parent was, so an id is unique along a line of forks.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

struct Session {
    /// [`fork::process`].
    process: u64,
    config: Config,
    /// Built by a recording call in a forked child, not by `init`.
    revived: bool,
    /// `None`: `Config.disabled`.
    running: Option<Running>,
}

struct Running {
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    captured: Option<Captured>,
    /// Of each SLS sink, in order.
    credentials: Vec<Credentials>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts recording. The first call in a forked child replaces what was inherited;
/// what the child has recorded until then is sent first, within `exit_timeout_ms`.
///
/// # Errors
/// [`Error::AlreadyInitialized`]; [`Error::Config`] when a sink's certificates cannot be used; [`Error::Thread`] when
/// there is no memory for the lanes or no thread. Nothing has changed then.
pub fn init(config: Config) -> Result<(), Error> {
    let guard = lifecycle_lock();
    let current = current(&guard);
    if matches!(&current, Current::Own(session) if !session.revived) {
        return Err(Error::AlreadyInitialized);
    }
    let exchanges = Exchanges::of(&config)?;
    let session = Session::start(config, false, move |_| exchanges)?;
    emit::on_fork(revive);
    install(&guard, Some(session));
    drop(guard);
    if let Current::Own(revived) = current {
        revived.close(Goal::Shutdown, revived.exit_timeout(), &mut || false);
    }
    Ok(())
}

/// Stops recording, sends what was recorded, ends the exporter. Returns within `timeout` and a tenth of a second, sooner
/// when `should_stop` (asked every 50 ms) says so; the exporter then ends by itself. True: everything accepted was
/// delivered, or finally refused by its server. Again: waits for the same end, and returns the same. Without a session
/// ever: true.
pub fn shutdown(timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> bool {
    let deadline = after(Instant::now(), timeout);
    let Some(session) = take(timeout, should_stop) else { return true };
    session.close(Goal::Shutdown, deadline.saturating_duration_since(Instant::now()), should_stop)
}

/// [`shutdown`] at interpreter exit: within `Config.exit_timeout_ms`, and two refused connections end the wait for a
/// sink.
pub fn shutdown_at_exit(should_stop: &mut dyn FnMut() -> bool) -> bool {
    let exit_timeout = |config: &Config| Duration::from_millis(config.exit_timeout_ms);
    let timeout = match current(&lifecycle_lock()) {
        Current::Own(session) | Current::Ended(session) => exit_timeout(&session.config),
        Current::None | Current::Inherited(_) => Duration::ZERO,
    };
    let deadline = after(Instant::now(), timeout);
    let Some(session) = take(timeout, should_stop) else { return true };
    session.close(Goal::Exit, deadline.saturating_duration_since(Instant::now()), should_stop)
}

/// Sends all that any thread recorded before the call. Returns like [`shutdown`]; what could not be sent in time stays
/// queued. Each sink is tried at once, past its wait after a failure.
pub fn force_flush(timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> bool {
    let Current::Own(session) = current(&lifecycle_lock()) else { return true };
    session.ask(Goal::Flush, timeout, should_stop).unwrap_or(false)
}

/// Between `init` and `shutdown`, also in a child forked in between.
pub fn is_initialized() -> bool {
    current::is_any()
}

/// The counters, after `shutdown` those of the session that ended; `None` before `init`. Those behind the lanes are as of
/// the exporter's last turn, at most 250 ms ago; after a flush they hold all of it.
pub fn stats() -> Option<Snapshot> {
    let current = current(&lifecycle_lock());
    match current {
        Current::None => None,
        Current::Inherited(parent) => Some(sinks::empty_stats(&parent)),
        Current::Own(session) | Current::Ended(session) => Some(session.stats()),
    }
}

/// What the session would have sent, by then; `None` unless it has [`Config::capture`]. After `shutdown` that of the
/// session that ended. In a forked child what the child recorded.
pub fn captured() -> Option<Captured> {
    match current(&lifecycle_lock()) {
        Current::None => None,
        Current::Inherited(config) => config.capture.then(Captured::new),
        Current::Own(session) | Current::Ended(session) => session.running.as_ref()?.captured.clone(),
    }
}

/// Those of the current session's SLS sinks, in order; none of one that sends nothing ([`Config::capture`]).
pub fn sls_credentials() -> Vec<Credentials> {
    match current(&lifecycle_lock()) {
        Current::Own(session) if !session.config.capture => session.credentials(),
        _ => Vec::new(),
    }
}

/// Sends a record named `pytracingx.check` to each sink, apart from the exporter, and reports on each, in order. All at
/// once, within `timeout` and each sink's own; gives up when `should_stop` (asked every 50 ms) says so. Empty without a
/// session, or when it records nothing (`Config.disabled`) or sends nothing (`Config.capture`).
pub fn check(timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> Vec<Report> {
    let (config, credentials) = match current(&lifecycle_lock()) {
        Current::None | Current::Ended(_) => return Vec::new(),
        Current::Inherited(config) => {
            let credentials = credentials_of(&config);
            (*config, credentials)
        }
        Current::Own(session) => (session.config.clone(), session.credentials()),
    };
    if config.disabled || config.capture {
        return Vec::new();
    }
    check::run(&config, credentials, timeout, should_stop)
}

/// What a recording thread calls in a forked child. Without a thread, or memory for lanes, nothing is recorded: told once.
fn revive() {
    let guard = lifecycle_lock();
    let Current::Inherited(parent) = current(&guard) else {
        return;
    };
    let tells = parent.diagnostics;
    let tell = |error: &Error| stderr::tell(tells, format_args!("this child records nothing: {error}"));
    install(&guard, Session::start(*parent, true, Exchanges::where_possible).inspect_err(tell).ok());
}

/// Asks the observable instruments, then turns recording off. The session that was on, or has been turned off before, if
/// it is this process's own.
fn take(timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> Option<Arc<Session>> {
    let running = current(&lifecycle_lock());
    let mut asked = None;
    if let Current::Own(session) = running {
        session.observe(timeout, should_stop);
        asked = Some(session);
    }
    let guard = lifecycle_lock();
    match current(&guard) {
        Current::None => None,
        Current::Inherited(_) => {
            install(&guard, None);
            None
        }
        // Meanwhile somebody else has ended the session that was meant, and begun this one.
        Current::Own(session) if asked.as_ref().is_some_and(|asked| !Arc::ptr_eq(asked, &session)) => asked,
        Current::Own(session) => {
            install(&guard, None);
            Some(session)
        }
        Current::Ended(session) => Some(session),
    }
}

impl Session {
    /// `exchanges` runs on the exporter's thread.
    fn start(
        config: Config,
        revived: bool,
        exchanges: impl FnOnce(&Config) -> Exchanges + Send + 'static,
    ) -> Result<Self, Error> {
        let process = fork::process();
        if config.disabled {
            return Ok(Self { process, config, revived, running: None });
        }
        stderr::reserve();
        let no_lanes =
            |reason: &dyn std::fmt::Display| Error::Thread(format!("no memory for lanes: {reason}"));
        let lanes =
            Lanes::new(config.ring_capacity_bytes, config.lane_budget_bytes).map_err(|e| no_lanes(&e))?;
        let drainer = lanes.drainer().ok_or_else(|| no_lanes(&"taken"))?;
        let samplers: Vec<_> = config.trace_sinks.iter().map(|sink| sink.sampler).collect();
        let span_limits = config.trace_sinks.iter().map(|sink| sink.limits).reduce(SpanLimits::union);
        let log_limits = config
            .otlp_log_sinks
            .iter()
            .map(|sink| sink.limits)
            .chain(config.sls_log_sinks.iter().map(|_| LogLimits::default()))
            .chain(config.console_logs.then(LogLimits::default))
            .reduce(LogLimits::union);
        let log_routes = sinks::log_routes(&config);
        let instruments =
            Instruments::new(config.views.clone(), config.default_histogram, config.exemplar_filter);
        // Relaxed: only the number matters.
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let intake = Arc::new(Intake {
            sampler: Sampler::new(&samplers),
            limits: span_limits.unwrap_or_default(),
            console_spans: config.console_spans,
            log_routes: log_routes.clone(),
            log_limits: log_limits.unwrap_or_default(),
            metrics: config.console_metrics || !config.metric_sinks.is_empty(),
            instruments: Arc::new(instruments),
            ..Intake::new(id, lanes.clone())
        });
        let warnings = if config.diagnostics && !revived { config.warnings.clone() } else { Vec::new() };
        let sinks_of = config.clone();
        let credentials = credentials_of(&config);
        let origin = Origin { resource: complete_resource(&config), credentials: credentials.clone() };
        let captured = config.capture.then(Captured::new);
        let keep = captured.clone();
        let parts = Parts {
            drainer,
            strings: intake.strings.clone(),
            counters: intake.counters.clone(),
            recorded: Recorded {
                instruments: intake.instruments.clone(),
                observations: intake.observations.clone(),
                tallies: intake.tallies.clone(),
                folds: intake.folds.clone(),
            },
            sinks: Box::new(move || {
                let exchanges = match keep {
                    Some(captured) => Exchanges::captured(&sinks_of, &captured),
                    None => exchanges(&sinks_of),
                };
                sinks::build(&sinks_of, exchanges, origin)
            }),
            log_routes,
            redactor: (!config.redact.is_empty()).then(|| Redactor::new(config.redact.clone())),
            console: Console::new(
                Shown {
                    spans: config.console_spans,
                    metrics: config.console_metrics,
                    logs: config.console_logs,
                },
                Layout { format: config.console_format, color: wants_color() },
            ),
            console_interval: sinks::console_interval(&config),
            sdk_metrics: config.sdk_metrics,
            diagnostics: config.diagnostics,
            warnings,
            probe: None,
        };
        let shared = Arc::new(Shared::new(lanes, sinks::empty_stats(&config)));
        let thread =
            exporter::start(parts, shared.clone()).map_err(|error| Error::Thread(error.to_string()))?;
        let running = Running { intake, shared, captured, credentials, thread: Mutex::new(Some(thread)) };
        Ok(Self { process, config, revived, running: Some(running) })
    }

    fn credentials(&self) -> Vec<Credentials> {
        self.running.as_ref().map(|running| running.credentials.clone()).unwrap_or_default()
    }

    fn exit_timeout(&self) -> Duration {
        Duration::from_millis(self.config.exit_timeout_ms)
    }

    fn stats(&self) -> Snapshot {
        let Some(running) = &self.running else {
            return sinks::empty_stats(&self.config);
        };
        let mut stats = running.shared.stats();
        stats.refresh(&running.intake.counters);
        stats.measurements.recorded += running.intake.tallies.additions();
        stats
    }

    /// Asks the observable instruments for the last time, while recording is still on.
    fn observe(&self, timeout: Duration, should_stop: &mut dyn FnMut() -> bool) {
        let Some(Running { intake, .. }) = &self.running else { return };
        if !intake.metrics || !intake.observations.is_attended() {
            return;
        }
        let round = intake.observations.ask();
        let give_up = after(Instant::now(), (timeout / 2).min(OBSERVE_FOR));
        while Instant::now() < give_up && !should_stop() {
            if intake.observations.wait_for_answer(round, give_up.min(after(Instant::now(), SLICE))) {
                return;
            }
        }
    }

    /// `None`: no answer in time, or `should_stop`.
    fn ask(&self, goal: Goal, timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> Option<bool> {
        let Some(Running { shared, .. }) = &self.running else {
            return Some(true);
        };
        let deadline = after(Instant::now(), timeout);
        let ticket = shared.asks.ask(goal, deadline);
        shared.lanes.waker().wake();
        let give_up = after(deadline, GRACE);
        loop {
            let verdict = shared.asks.wait(&ticket, give_up.min(after(Instant::now(), SLICE)));
            if verdict.is_some() || Instant::now() >= give_up || should_stop() {
                return verdict;
            }
        }
    }

    /// Recording must be off, or in another session. A recording call that began before takes effect before the last
    /// collection where `should_stop` waits for the lock that such calls hold; else it may be too late, and so counted.
    fn close(&self, goal: Goal, timeout: Duration, should_stop: &mut dyn FnMut() -> bool) -> bool {
        should_stop();
        let verdict = self.ask(goal, timeout, should_stop);
        if let Some(Running { intake, .. }) = &self.running {
            intake.observations.close();
        }
        if let (Some(_), Some(Running { shared, thread, .. })) = (verdict, &self.running) {
            // The thread ends right after its answer. One that gives none is stuck, or has been given up: it is left
            // to itself, with all that it holds.
            if shared.asks.wait_for_end(after(Instant::now(), GRACE)) {
                let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                let _ = thread.map(JoinHandle::join);
            }
        }
        verdict.unwrap_or(false)
    }
}

/// Of each SLS sink, in order; those that a provider gives are empty.
fn credentials_of(config: &Config) -> Vec<Credentials> {
    config.sls_log_sinks.iter().map(|sink| Credentials::of(&sink.credentials)).collect()
}

/// What the user, the environment and detection say about this process.
fn complete_resource(config: &Config) -> Resource {
    resource::complete(&config.resource, |name| std::env::var(name).ok())
}

/// Only on a terminal, and not where the user said so (`NO_COLOR`, not empty).
fn wants_color() -> bool {
    stderr::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
