//! What generations and scheduler steps are called on the wire: tables, and nothing but tables decides. All GenAI conventions
//! have status Development, so they will move; then a cell here changes.
//!
//! `latest` is OpenTelemetry's GenAI conventions as they were when they moved to their own repository (semantic conventions
//! 1.42); `legacy` is what vLLM 0.33 and SGLang 0.5 put on their spans. Names of ours, where no convention has one, begin
//! with `gen_ai.response.` (next to `time_to_first_chunk`), `gen_ai.server.` (next to `time_per_output_token`) or
//! `llm.engine.`. Plain data.

use crate::config::check::Choice;
use crate::record::InstrumentKind;

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Names {
    /// The conventions.
    #[default]
    Latest,
    /// The engines' own; the conventions' where they have none.
    Legacy,
    /// Each attribute under both; metrics under the conventions' only, lest they count twice.
    Both,
}

/// `semconv`.
pub const NAMES: Choice<Names> = Choice {
    names: &[("latest", Names::Latest), ("legacy", Names::Legacy), ("both", Names::Both)],
    aliases: &[],
};

/// What an attribute says; an index into [`KEYS`].
#[expect(missing_docs, reason = "the table says it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Key {
    Operation,
    Provider,
    Model,
    ErrorType,
    InputTokens,
    OutputTokens,
    FinishReasons,
    Duration,
    TimeToFirstToken,
    TimePerOutputToken,
    TokensPerSecond,
    GapP50,
    GapP99,
    GapMax,
    Arrivals,
    Offsets,
    OffsetsStride,
    TokenIndex,
    TimeInQueue,
    TimeInPrefill,
    TimeInDecode,
    TimeInModel,
    Prompt,
    Completion,
    StepName,
    BatchSize,
    ScheduledTokens,
    KvCacheUsage,
    Waiting,
    Preemptions,
    PrefixCacheQueries,
    PrefixCacheHits,
}

/// In the order of [`Key`]: the conventions' name and the engines'. Empty: there is none.
pub const KEYS: [(Key, &str, &str); Key::PrefixCacheHits as usize + 1] = [
    (Key::Operation, "gen_ai.operation.name", ""),
    (Key::Provider, "gen_ai.provider.name", "gen_ai.system"),
    (Key::Model, "gen_ai.request.model", ""),
    (Key::ErrorType, "error.type", ""),
    (Key::InputTokens, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    (Key::OutputTokens, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    (Key::FinishReasons, "gen_ai.response.finish_reasons", ""),
    // Spans have it anyway.
    (Key::Duration, "", "gen_ai.latency.e2e"),
    (Key::TimeToFirstToken, "gen_ai.response.time_to_first_chunk", "gen_ai.latency.time_to_first_token"),
    (Key::TimePerOutputToken, "gen_ai.response.time_per_output_token", ""),
    (Key::TokensPerSecond, "gen_ai.response.tokens_per_second", ""),
    (Key::GapP50, "gen_ai.response.inter_token_latency.p50", ""),
    (Key::GapP99, "gen_ai.response.inter_token_latency.p99", ""),
    (Key::GapMax, "gen_ai.response.inter_token_latency.max", ""),
    (Key::Arrivals, "gen_ai.response.token_times.count", ""),
    (Key::Offsets, "gen_ai.response.token_times.offsets_us", ""),
    (Key::OffsetsStride, "gen_ai.response.token_times.stride", ""),
    (Key::TokenIndex, "gen_ai.token.index", ""),
    // Of the stages "queue" (or "schedule"), "prefill" and "decode", whose spans have them anyway.
    (Key::TimeInQueue, "", "gen_ai.latency.time_in_queue"),
    (Key::TimeInPrefill, "", "gen_ai.latency.time_in_model_prefill"),
    (Key::TimeInDecode, "", "gen_ai.latency.time_in_model_decode"),
    (Key::TimeInModel, "", "gen_ai.latency.time_in_model_inference"),
    (Key::Prompt, "gen_ai.input.messages", "gen_ai.prompt"),
    (Key::Completion, "gen_ai.output.messages", "gen_ai.completion"),
    (Key::StepName, "llm.engine.step.name", ""),
    (Key::BatchSize, "llm.engine.batch_size", ""),
    (Key::ScheduledTokens, "llm.engine.scheduled_tokens", ""),
    (Key::KvCacheUsage, "llm.engine.kv_cache_usage", ""),
    (Key::Waiting, "llm.engine.requests_waiting", ""),
    (Key::Preemptions, "llm.engine.preemptions", ""),
    (Key::PrefixCacheQueries, "llm.engine.prefix_cache.queries", ""),
    (Key::PrefixCacheHits, "llm.engine.prefix_cache.hits", ""),
];

impl Key {
    /// The names it has, one or two; none where only the other version has one.
    pub fn names(self, names: Names) -> impl Iterator<Item = &'static str> {
        let (_, latest, legacy) = KEYS[self as usize];
        let chosen = match names {
            Names::Latest => [latest, ""],
            Names::Legacy if legacy.is_empty() => [latest, ""],
            Names::Legacy => ["", legacy],
            Names::Both => [latest, legacy],
        };
        chosen.into_iter().filter(|name| !name.is_empty())
    }

    /// The one name it has as a metric's attribute.
    pub fn name(self, names: Names) -> &'static str {
        self.names(names).next().unwrap_or_default()
    }
}

/// Event for one arrival of tokens.
pub const TOKEN_EVENT: &str = "gen_ai.token.generated";
/// Event on a generation that was cancelled.
pub const CANCELLED_EVENT: &str = "cancelled";
/// Logger of prompts and completions.
pub const CONTENT_LOGGER: &str = "pytracingx.llm.content";
/// Body of its records: the conventions' event name.
pub const CONTENT_EVENT: &str = "gen_ai.client.inference.operation.details";

/// What is measured; an index into a series.
#[expect(missing_docs, reason = "the table says it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Measure {
    FirstToken,
    PerToken,
    Gap,
    Duration,
    InputTokens,
    OutputTokens,
    StepDuration,
    StepGap,
    BatchSize,
    ScheduledTokens,
    KvCacheUsage,
    Waiting,
    Preemptions,
    PrefixCacheQueries,
    PrefixCacheHits,
    PrefixCacheHitRate,
}

/// How many measures there are.
pub const MEASURES: usize = Measure::PrefixCacheHitRate as usize + 1;

/// Who measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// A generation where the model runs.
    Server,
    /// A generation as its caller sees it (span kind `client`).
    Client,
    /// A scheduler's step.
    Step,
}

/// A row of [`METRICS`].
#[derive(Debug)]
pub struct Metric {
    /// What it is fed with. Several metrics may be fed with one measure.
    pub measure: Measure,
    /// By whom.
    pub sides: &'static [Side],
    /// Its name.
    pub name: &'static str,
    /// Its instrument.
    pub kind: InstrumentKind,
    /// UCUM.
    pub unit: &'static str,
    /// For people.
    pub description: &'static str,
    /// Of a histogram.
    pub boundaries: &'static [f64],
    /// A further attribute.
    pub label: Option<(&'static str, &'static str)>,
}

/// The scope of all of them.
pub const METER: &str = "pytracingx.llm";

// The conventions' advice.
const FIRST_TOKEN_S: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const PER_TOKEN_S: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const DURATION_S: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
// Ours: times between tokens and steps begin well below the conventions' 10 ms.
const GAP_S: &[f64] = &[
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
    0.4, 0.5, 0.75, 1.0, 2.5,
];
const STEP_GAP_S: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0,
];
const POWERS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

const COUNTER: InstrumentKind = InstrumentKind::Counter;
const GAUGE: InstrumentKind = InstrumentKind::Gauge;
const HISTOGRAM: InstrumentKind = InstrumentKind::Histogram;

const SERVER: &[Side] = &[Side::Server];
const CLIENT: &[Side] = &[Side::Client];
const GENERATION: &[Side] = &[Side::Server, Side::Client];
const STEP: &[Side] = &[Side::Step];

#[rustfmt::skip] // one row a metric
const fn row(
    sides: &'static [Side], measure: Measure, name: &'static str, kind: InstrumentKind, unit: &'static str,
    boundaries: &'static [f64], description: &'static str,
) -> Metric {
    Metric { measure, sides, name, kind, unit, description, boundaries, label: None }
}

const fn of_type(token_type: &'static str, row: Metric) -> Metric {
    Metric { label: Some(("gen_ai.token.type", token_type)), ..row }
}

/// Every metric.
#[rustfmt::skip] // one row a metric
pub const METRICS: &[Metric] = &[
    row(SERVER, Measure::FirstToken, "gen_ai.server.time_to_first_token", HISTOGRAM, "s", FIRST_TOKEN_S,
        "Time to generate first token for successful responses."),
    row(SERVER, Measure::PerToken, "gen_ai.server.time_per_output_token", HISTOGRAM, "s", PER_TOKEN_S,
        "Time per output token generated after the first token for successful responses."),
    row(SERVER, Measure::Gap, "gen_ai.server.inter_token_latency", HISTOGRAM, "s", GAP_S,
        "Time between two arrivals of output tokens."),
    row(SERVER, Measure::Duration, "gen_ai.server.request.duration", HISTOGRAM, "s", DURATION_S,
        "Generative AI server request duration such as time-to-last byte or last output token."),
    row(CLIENT, Measure::FirstToken, "gen_ai.client.operation.time_to_first_chunk", HISTOGRAM, "s", DURATION_S,
        "Time to receive the first chunk."),
    row(CLIENT, Measure::Gap, "gen_ai.client.operation.time_per_output_chunk", HISTOGRAM, "s", DURATION_S,
        "Time per output chunk after the first one."),
    row(CLIENT, Measure::Duration, "gen_ai.client.operation.duration", HISTOGRAM, "s", DURATION_S,
        "GenAI operation duration."),
    of_type("input", row(GENERATION, Measure::InputTokens, "gen_ai.client.token.usage", HISTOGRAM, "{token}", TOKENS,
        "Number of input and output tokens used.")),
    of_type("output", row(GENERATION, Measure::OutputTokens, "gen_ai.client.token.usage", HISTOGRAM, "{token}", TOKENS,
        "Number of input and output tokens used.")),
    row(SERVER, Measure::InputTokens, "gen_ai.server.input_tokens", COUNTER, "{token}", &[],
        "Input tokens of requests that ended."),
    row(SERVER, Measure::OutputTokens, "gen_ai.server.output_tokens", COUNTER, "{token}", &[],
        "Output tokens of requests that ended."),
    row(STEP, Measure::StepDuration, "llm.engine.step.duration", HISTOGRAM, "s", GAP_S,
        "Time from the beginning of a step to its end."),
    row(STEP, Measure::StepGap, "llm.engine.step.gap", HISTOGRAM, "s", STEP_GAP_S,
        "Time from the end of a step to the beginning of the next."),
    row(STEP, Measure::BatchSize, "llm.engine.batch_size", HISTOGRAM, "{request}", POWERS,
        "Requests in a step."),
    row(STEP, Measure::BatchSize, "llm.engine.requests_running", GAUGE, "{request}", &[],
        "Requests in the last step."),
    row(STEP, Measure::ScheduledTokens, "llm.engine.scheduled_tokens", HISTOGRAM, "{token}", POWERS,
        "Tokens scheduled in a step."),
    row(STEP, Measure::KvCacheUsage, "llm.engine.kv_cache_usage", GAUGE, "1", &[],
        "Share of the KV cache in use, 0 to 1."),
    row(STEP, Measure::Waiting, "llm.engine.requests_waiting", GAUGE, "{request}", &[],
        "Requests that wait to be scheduled."),
    row(STEP, Measure::Preemptions, "llm.engine.preemptions", COUNTER, "{preemption}", &[],
        "Requests put back to make room."),
    row(STEP, Measure::PrefixCacheQueries, "llm.engine.prefix_cache.queries", COUNTER, "{token}", &[],
        "Tokens looked up in the prefix cache."),
    row(STEP, Measure::PrefixCacheHits, "llm.engine.prefix_cache.hits", COUNTER, "{token}", &[],
        "Tokens found in the prefix cache."),
    row(STEP, Measure::PrefixCacheHitRate, "llm.engine.prefix_cache.hit_rate", GAUGE, "1", &[],
        "Found of looked up in the last step that looked up any."),
];
