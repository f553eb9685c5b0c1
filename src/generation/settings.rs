//! What generations take from the environment where their arguments say nothing. Plain data.

use super::names::{NAMES, Names};
use crate::config::check::shown;
use crate::ids::TraceId;
use crate::sampler::TraceShare;

/// Which names: `latest` (default), `legacy` or `both`.
pub const NAMES_VARIABLE: &str = "PYTRACINGX_GEN_AI_SEMCONV";
/// OpenTelemetry's: whether prompts and completions are recorded. `true`, `event_only` and `span_and_event` say yes; we
/// write log records, so `span_only` says no.
pub const CONTENT_VARIABLE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
const YES: [&str; 4] = ["true", "1", "event_only", "span_and_event"];
const NO: [&str; 5] = ["", "false", "0", "span_only", "no_content"];
/// Of which share of traces, 0 to 1; default 1.
pub const SHARE_VARIABLE: &str = "PYTRACINGX_GEN_AI_CONTENT_SAMPLE_RATIO";

/// Defaults of the arguments `semconv` and `capture_content`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Which names.
    pub names: Names,
    /// Traces of which prompts and completions are recorded.
    pub content: Content,
}

/// Traces of which prompts and completions are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Content(TraceShare);

impl Content {
    /// Of none.
    pub const NONE: Self = Self(TraceShare::None);

    /// Of a share, 0 to 1, by the ratio test that sinks sample by. What is no such number is nothing.
    pub fn of_ratio(ratio: f64) -> Self {
        Self(TraceShare::of_rate(ratio))
    }

    /// Of this trace.
    pub fn has(self, trace_id: TraceId) -> bool {
        self.0.has(trace_id)
    }
}

impl Settings {
    /// What these variables say; what they cannot mean counts as unset, a share that is no number as 0, and goes to `warn`.
    pub fn read(variable: impl Fn(&str) -> Option<String>, mut warn: impl FnMut(String)) -> Self {
        let text = |name| variable(name).unwrap_or_default().trim().to_ascii_lowercase();
        let mut bad = |name: &str, value: &str, expected: &str, instead: &str| {
            warn(format!("{name}: '{}' is not {expected}; {instead}", shown(value)));
        };
        let wanted = text(CONTENT_VARIABLE);
        let is_wanted = YES.contains(&wanted.as_str());
        if !is_wanted && !NO.contains(&wanted.as_str()) {
            let expected = "true, false, event_only, span_and_event, span_only or no_content";
            bad(CONTENT_VARIABLE, &wanted, expected, "ignored");
        }
        let share = match text(SHARE_VARIABLE).as_str() {
            "" => 1.0,
            share => share.parse().ok().filter(|share| (0.0..=1.0).contains(share)).unwrap_or_else(|| {
                bad(SHARE_VARIABLE, share, "a number from 0 to 1", "nothing is recorded");
                0.0
            }),
        };
        let names = text(NAMES_VARIABLE);
        if !names.is_empty() && NAMES.find(&names).is_none() {
            bad(NAMES_VARIABLE, &names, &NAMES.expected(), "ignored");
        }
        Self {
            names: NAMES.find(&names).unwrap_or_default(),
            content: if is_wanted { Content::of_ratio(share) } else { Content::NONE },
        }
    }
}
