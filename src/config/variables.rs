//! Reading one variable: trimmed, empty meaning unset, and a line about each value that cannot be used.

#[cfg(feature = "net")]
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::check::{self, Choice, shown};
use super::{Proxy, Secret, Signal};
#[cfg(feature = "net")]
use crate::error::Error;

/// The variables, and what was odd about them.
pub(super) struct Environment<'a> {
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) warnings: Vec<String>,
}

impl Environment<'_> {
    /// A signal's own variable, or else the general one.
    pub(super) fn of_signal<T>(
        &mut self,
        signal: Signal,
        suffix: &str,
        read: impl Fn(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        read(self, &specific(signal, suffix)).or_else(|| read(self, &format!("OTEL_EXPORTER_OTLP_{suffix}")))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = (self.variable)(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
            self.bad(name, &text, "true or false");
        }
        Some(text.eq_ignore_ascii_case("true"))
    }

    pub(super) fn whole<T: TryFrom<i128> + check::Bounded>(&mut self, name: &str, min: i128) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok().and_then(|value| check::whole(name, value, min).ok());
        if value.is_none() {
            self.bad(name, &text, &format!("a whole number of at least {min}"));
        }
        value
    }

    pub(super) fn milliseconds(&mut self, name: &str, min: i128) -> Option<u64> {
        let value: u64 = self.whole(name, min)?;
        check::milliseconds(name, value.into(), min).ok()
    }

    /// Milliseconds by specification. Nobody means an export timeout of up to 600 ms; the Python SDK, which reads
    /// seconds, has taught many to write `10`.
    pub(super) fn timeout(&mut self, name: &str) -> Option<u64> {
        let value = self.milliseconds(name, 1)?;
        if value > 600 {
            return Some(value);
        }
        self.warn(format!("{name}={value} is read as seconds; the unit is milliseconds, write {value}000"));
        Some(value * 1000)
    }

    pub(super) fn choice<T: Copy + PartialEq>(&mut self, name: &str, choice: &Choice<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = choice.find(&text);
        if value.is_none() {
            self.bad(name, &text, &choice.expected());
        }
        value
    }

    /// `key=value,…`, percent-decoded. One bad entry makes the whole value unusable (as specified for
    /// `OTEL_RESOURCE_ATTRIBUTES`). An entry may be a secret, so only its place is told.
    pub(super) fn pairs(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let text = self.text(name)?;
        let mut pairs = Vec::new();
        for (index, entry) in text.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let decode =
                |text: &str| percent_decode_str(text.trim()).decode_utf8().map(|text| text.into_owned());
            match entry.split_once('=').map(|(key, value)| (decode(key), decode(value))) {
                Some((Ok(key), Ok(value))) if !key.is_empty() => pairs.push((key, value)),
                _ => {
                    self.warn(format!(
                        "{name}: entry {} is not key=value with percent-encoded UTF-8; ignored as a whole",
                        index + 1
                    ));
                    return None;
                }
            }
        }
        Some(pairs)
    }

    pub(super) fn headers(&mut self, name: &str) -> Option<Vec<(String, Secret)>> {
        let pairs = self.pairs(name)?;
        let headers = check::headers(pairs).ok();
        if headers.is_none() {
            // A botched list can have a secret where a name should be: neither is shown.
            self.warn(format!("{name}: a name or value is not allowed in a header; ignored as a whole"));
        }
        headers
    }

    pub(super) fn proxy(&mut self, name: &str) -> Option<Proxy> {
        let text = self.text(name)?;
        let proxy = Proxy::parse(name, &text);
        proxy.map_err(|error| self.warn(format!("{error}; ignored"))).ok()
    }

    /// A file that `read` can use.
    #[cfg(feature = "net")]
    pub(super) fn file<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str, &Path) -> Result<T, Error>,
    ) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        match read(name, &path) {
            Ok(_) => Some(path),
            Err(error) => {
                self.warn(format!("{error}; ignored"));
                None
            }
        }
    }

    pub(super) fn bad(&mut self, name: &str, value: &str, expected: &str) {
        self.warn(format!("{name}: '{}' is not {expected}; ignored", shown(value)));
    }

    pub(super) fn warn(&mut self, line: String) {
        self.warnings.push(line);
    }
}

/// The name of a signal's own variable.
pub(super) fn specific(signal: Signal, suffix: &str) -> String {
    let signal = match signal {
        Signal::Traces => "TRACES",
        Signal::Metrics => "METRICS",
        Signal::Logs => "LOGS",
    };
    format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}")
}
