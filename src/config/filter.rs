//! Levels and filters of log records. Parsing only; whether a record passes is decided elsewhere.

use std::fmt;

use super::check;
use crate::error::Error;

/// The least severe log record that passes; ordered from everything to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Everything.
    Trace,
    /// Severity number 5 and up.
    Debug,
    /// 9 and up.
    #[default]
    Info,
    /// 13 and up.
    Warn,
    /// 17 and up.
    Error,
    /// 21 and up.
    Fatal,
    /// Nothing.
    Off,
}

/// The prefix that stands for every logger, and so wins over a level without one: pytracingx 0.3 recorded all under this
/// `RUST_LOG` target.
pub const EVERY_LOGGER: &str = "pytracingx::log";

/// `level` and `logger.prefix=level` directives; the longest prefix that matches a logger's name decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// Logger-name prefix (empty: every logger) and level, as written.
    pub directives: Vec<(String, Level)>,
}

impl Default for LogFilter {
    /// `info`.
    fn default() -> Self {
        Self::from_level(Level::Info)
    }
}

impl LogFilter {
    /// Of every logger what is at least as severe as `level`.
    pub fn from_level(level: Level) -> Self {
        Self { directives: vec![(String::new(), level)] }
    }

    /// The same filter, letting nothing below `level` pass.
    #[must_use]
    pub fn at_least(mut self, level: Level) -> Self {
        for (_, own) in &mut self.directives {
            *own = level.max(*own);
        }
        self
    }

    /// `info,noisy.lib=warn`.
    ///
    /// # Errors
    /// An empty text, a prefix that is empty or has what looks like another syntax, or an unknown level; `argument` names the setting.
    pub fn parse(argument: &str, text: &str) -> Result<Self, Error> {
        let directive = |part: &str| {
            let (prefix, level) = part.rsplit_once('=').map_or(("", part), |(p, l)| (p.trim(), l.trim()));
            match check::LEVELS.find(level) {
                Some(level) if part.contains('=') != prefix.is_empty() && !prefix.contains(['*', ';']) => {
                    Ok((prefix.to_owned(), level))
                }
                _ => Err(Error::config(format_args!(
                    "{argument}: '{}' is not a directive, expected 'level' or 'logger.prefix=level' with level {}",
                    check::shown(part),
                    check::LEVELS.expected(),
                ))),
            }
        };
        let directives = text.split(',').map(str::trim).map(directive).collect::<Result<_, _>>()?;
        Ok(Self { directives })
    }

    /// The directives of a `RUST_LOG` value that mean log records: `level`, `target=level`, `target` (everything from
    /// it); levels also by number. The rest (filters of spans and fields, patterns, unknown levels) goes to `bad`, a directive
    /// each. `None` when nothing is left.
    pub fn from_rust_log(text: &str, mut bad: impl FnMut(&str)) -> Option<Self> {
        let mut directives = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.rsplit_once('=') {
                Some((target, level)) => (target.trim(), rust_level(level.trim())),
                None => rust_level(part).map_or((part, Some(Level::Trace)), |level| ("", Some(level))),
            };
            let named = !target.is_empty() || !part.contains('=');
            match level {
                Some(level) if named && !target.contains(['[', '{', '*', ';']) => {
                    let target = if target == "pytracingx" { EVERY_LOGGER } else { target };
                    directives.push((target.to_owned(), level));
                }
                _ => bad(part),
            }
        }
        (!directives.is_empty()).then_some(Self { directives })
    }
}

/// A level of the `tracing` crates, whose numbers run from off to trace; empty is everything.
fn rust_level(text: &str) -> Option<Level> {
    const NUMBERED: [Level; 6] =
        [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    match text.parse::<usize>() {
        Ok(number) => NUMBERED.get(number).copied(),
        Err(_) if text.is_empty() => Some(Level::Trace),
        Err(_) => check::LEVELS.find(text),
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (prefix, level)) in self.directives.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let equals = if prefix.is_empty() { "" } else { "=" };
            write!(f, "{comma}{prefix}{equals}{}", check::LEVELS.name(*level))?;
        }
        Ok(())
    }
}
