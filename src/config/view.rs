//! Views, and what is to be hidden: which instruments and keys they mean, and what becomes of those. Plain data and what
//! is allowed in it; a pattern's `*` stands for any text, `?` for one character.

use super::check;
use crate::error::Error;
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

impl ViewAggregation {
    /// By name; `boundaries` belong to `explicit` and alone mean it, `max_size` belongs to `exponential`.
    ///
    /// # Errors
    /// An unknown name, an argument that belongs to another aggregation, boundaries that do not ascend, a size below 2.
    pub fn parse(
        name: Option<&str>,
        boundaries: Option<Vec<f64>>,
        max_size: Option<i128>,
    ) -> Result<Self, Error> {
        let implied = if boundaries.is_some() { "explicit" } else { "default" };
        let name = name.map_or(Ok(implied), |name| check::AGGREGATIONS.parse("aggregation", name))?;
        boundaries.as_ref().map_or(Ok(()), |values| check::boundaries("boundaries", values))?;
        let misplaced = [
            ("boundaries", "explicit", boundaries.is_some()),
            ("max_size", "exponential", max_size.is_some()),
        ];
        for (argument, owner, given) in misplaced {
            if given && name != owner {
                return Err(Error::config(format_args!(
                    "{argument} needs aggregation '{owner}', got '{name}'"
                )));
            }
        }
        Ok(match name {
            "sum" => Self::Sum,
            "last_value" => Self::LastValue,
            "explicit" => Self::Explicit(boundaries),
            "exponential" => Self::Exponential {
                max_size: max_size
                    .map_or(Ok(EXPONENTIAL_MAX_SIZE), |size| check::whole("max_size", size, 2))?,
            },
            "drop" => Self::Drop,
            _ => Self::Default,
        })
    }

    /// The name that [`ViewAggregation::parse`] knows.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Sum => "sum",
            Self::LastValue => "last_value",
            Self::Explicit(_) => "explicit",
            Self::Exponential { .. } => "exponential",
            Self::Drop => "drop",
        }
    }
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

impl View {
    /// What no single field can say.
    ///
    /// # Errors
    /// An empty name; a name for a view that can match several instruments, whose streams would then collide.
    pub fn check(&self) -> Result<(), Error> {
        let texts = [
            ("instrument_name", &self.instrument_name),
            ("meter_name", &self.meter_name),
            ("name", &self.name),
        ];
        for (argument, text) in texts {
            text.as_ref().map_or(Ok(()), |text| check::non_empty(argument, text))?;
        }
        let one = self.instrument_name.as_ref().is_some_and(|pattern| !pattern.contains(['*', '?']));
        match &self.name {
            Some(name) if !one => Err(Error::config(format_args!(
                "name '{}' needs an instrument_name without '*' and '?': several instruments would share it",
                check::shown(name)
            ))),
            _ => Ok(()),
        }
    }
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

impl RedactAction {
    /// By name; `length` belongs to `truncate`, which needs it.
    ///
    /// # Errors
    /// An unknown name, a length that is missing, misplaced or negative.
    pub fn parse(name: &str, length: Option<i128>) -> Result<Self, Error> {
        match (check::REDACT_ACTIONS.parse("action", name)?, length) {
            (Self::Truncate(_), Some(length)) => Ok(Self::Truncate(check::whole("length", length, 0)?)),
            (Self::Truncate(_), None) => {
                Err(Error::config("action 'truncate' needs length, the characters that are kept, got none"))
            }
            (action, None) => Ok(action),
            (_, Some(length)) => Err(Error::config(format_args!(
                "length needs action 'truncate', got {length} with action '{}'",
                check::shown(name)
            ))),
        }
    }
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
