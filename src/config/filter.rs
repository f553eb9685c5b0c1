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

/// `level` and `logger.prefix=level` directives; the longest prefix that matches a logger's name decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// Logger-name prefix (empty: every logger) and level, as written.
    pub directives: Vec<(String, Level)>,
}

impl Default for LogFilter {
    /// `info`.
    fn default() -> Self {
        Self { directives: vec![(String::new(), Level::Info)] }
    }
}

impl LogFilter {
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
    /// An empty text, an empty prefix, or an unknown level; `argument` names the setting.
    pub fn parse(argument: &str, text: &str) -> Result<Self, Error> {
        let directive = |part: &str| {
            let (prefix, level) = part.rsplit_once('=').map_or(("", part), |(p, l)| (p.trim(), l.trim()));
            match check::LEVELS.find(level) {
                Some(level) if part.contains('=') != prefix.is_empty() => Ok((prefix.to_owned(), level)),
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
