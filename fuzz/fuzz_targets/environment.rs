//! Headers and resource attributes from environment variables, whatever these hold: what is configured is what a second
//! reading says, header values fit a request's head, and a value that was ignored is told of without being shown.

#![cfg_attr(fuzzing, no_main)]

mod shim;

use pytracingx::config::Config;

fuzz_target!(environment);

const HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// What values are made of: random bytes alone are never a list.
const PARTS: [&str; 24] = [
    "=",
    "=",
    "=",
    ",",
    ",",
    "authorization",
    "x-scope",
    "Bearer hush",
    "a",
    "b",
    " ",
    "\t",
    "%20",
    "%2C",
    "%3d",
    "%0d%0a",
    "%00",
    "%ff",
    "%c3%a9",
    "%",
    "%zz",
    "content-length",
    "\u{e9}",
    "\r\n",
];

/// One input of the fuzzer: a byte for each part.
fn environment(data: &[u8]) {
    let part = |byte: &u8| match PARTS.get(usize::from(*byte) % 32) {
        Some(part) => (*part).to_owned(),
        None => char::from(*byte).to_string(),
    };
    let text: String = data.iter().take(40).map(part).collect();
    let config = Config::from_env(|name| [HEADERS, ATTRIBUTES].contains(&name).then(|| text.clone()));

    let sent = &config.trace_sinks[0].transport.headers;
    let sent: Vec<(String, String)> =
        sent.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let pairs = expected_pairs(&text);
    let allowed = pairs.clone().filter(|pairs| pairs.iter().all(|(name, value)| is_header(name, value)));
    assert_eq!(sent, allowed.clone().unwrap_or_default(), "{text:?}");

    let told = |name: &str| config.warnings.iter().any(|warning| warning.starts_with(name));
    assert_eq!(told(HEADERS), allowed.is_none(), "{:?}", config.warnings);
    assert_eq!(told(ATTRIBUTES), pairs.is_none(), "{:?}", config.warnings);
    assert!(!config.warnings.iter().any(|warning| warning.contains("hush") || warning.contains('\n')));
}

/// `None`: an entry that is none.
fn expected_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.trim().split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let at = entry.find('=')?;
        let (key, value) = (decoded(entry[..at].trim())?, decoded(entry[at + 1..].trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    entries.map(pair).collect()
}

/// A percent sign without two hexadecimal digits stands for itself.
fn decoded(text: &str) -> Option<String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.filter(|_| bytes[at] == b'%') {
            Some(digits) => {
                let digits = std::str::from_utf8(digits).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// RFC 9110: a token, and text without control characters; but for what frames a request.
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let framing = ["connection", "content-length", "transfer-encoding"];
    name.chars().all(is_token)
        && !framing.contains(&name.to_ascii_lowercase().as_str())
        && value.bytes().all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
}
