//! Views, and what is to be hidden: which instruments and keys they mean, and what becomes of those. Plain data; a
//! pattern's `*` stands for any text, `?` for one character.

use crate::record::InstrumentKind;

/// Attribute sets of one instrument, before the rest share the overflow series. OpenTelemetry's default.
pub const CARDINALITY_LIMIT: usize = 2000;
/// Buckets of an exponential histogram, on each side of zero. OpenTelemetry's default.
pub const EXPONENTIAL_MAX_SIZE: u32 = 160;
/// Boundaries of a histogram that says nothing about them. OpenTelemetry's default.
pub const DEFAULT_BOUNDARIES: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];
/// Boundaries of a histogram of unit `s` that says nothing about them: those of the semantic conventions.
pub const SECONDS_BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// How measurements become points.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewAggregation {
    /// As the instrument's kind and advice say.
    Default,
    /// A sum.
    Sum,
    /// The last value.
    LastValue,
    /// Buckets between fixed boundaries; `None`: the instrument's.
    Explicit(Option<Vec<f64>>),
    /// Base-2 exponential buckets.
    Exponential {
        /// Buckets on each side of zero, at least 2.
        max_size: u32,
    },
    /// Nothing is recorded.
    Drop,
}

/// Which instruments, and what becomes of their measurements. What is `None` matches everything, or changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Pattern, case-insensitive as instrument names are.
    pub instrument_name: Option<String>,
    /// The meter's name.
    pub meter_name: Option<String>,
    /// The instrument's kind.
    pub instrument_kind: Option<InstrumentKind>,
    /// The instrument's unit.
    pub unit: Option<String>,
    /// The stream's name instead of the instrument's.
    pub name: Option<String>,
    /// The only attribute keys that are kept.
    pub attribute_keys: Option<Vec<String>>,
    /// How measurements become points.
    pub aggregation: ViewAggregation,
    /// Default [`CARDINALITY_LIMIT`].
    pub cardinality_limit: Option<usize>,
}

/// What becomes of a value that is to be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactAction {
    /// The attribute is left out, and counts as dropped.
    Drop,
    /// `sha256:` and the SHA-256 of its text in hexadecimal.
    Hash,
    /// The text's first characters.
    Truncate(u32),
}

/// Attributes to hide, on spans, their events and links, and on log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactRule {
    /// Pattern for the key.
    pub key: String,
    /// What becomes of the value.
    pub action: RedactAction,
}

/// Whether all of `text` matches a pattern of `*` (any text) and `?` (any character).
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern_rest, mut text_rest) = (pattern, text);
    // Where to go on when what follows the last `*` turns out not to match: one character further.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let mut pattern_chars = pattern_rest.chars();
        let mut text_chars = text_rest.chars();
        match (pattern_chars.next(), text_chars.next()) {
            (Some('*'), _) => {
                pattern_rest = pattern_chars.as_str();
                retry = Some((pattern_rest, text_rest));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern_rest, text_rest) = (pattern_chars.as_str(), text_chars.as_str());
            }
            (None, None) => return true,
            _ => {
                let Some((pattern_from, text_from)) = retry else { return false };
                let mut further = text_from.chars();
                if further.next().is_none() {
                    return false;
                }
                retry = Some((pattern_from, further.as_str()));
                (pattern_rest, text_rest) = (pattern_from, further.as_str());
            }
        }
    }
}
