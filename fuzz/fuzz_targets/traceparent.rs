//! Trace Context and Baggage from arbitrary bytes (each line a header value) and from nearly valid headers, compared with a
//! second reading of the specification that shares no code with the first: text functions where the parser works on bytes.

#![cfg_attr(fuzzing, no_main)]

mod headers;
mod shim;

use arbitrary::Unstructured;
use pytracingx::context::{self, BaggageEntry};

fuzz_target!(traceparent);

/// One input of the fuzzer.
fn traceparent(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    lines.iter().for_each(|line| check_traceparent(line));
    check_tracestate(&lines);
    check_baggage(&lines, &[]);

    let Ok(headers) = headers::headers(&mut Unstructured::new(data)) else { return };
    check_traceparent(&headers.traceparent);
    check_tracestate(&headers.tracestate.iter().map(|value| &value[..]).collect::<Vec<_>>());
    check_baggage(&headers.baggage.iter().map(|value| &value[..]).collect::<Vec<_>>(), &headers.set);
}

fn check_traceparent(value: &[u8]) {
    let parsed = context::parse_traceparent(value)
        .map(|(trace_id, span_id, flags)| context::format_traceparent(trace_id, span_id, flags).to_vec());
    assert_eq!(parsed, expected_traceparent(value).map(String::into_bytes));
}

fn check_tracestate(values: &[&[u8]]) {
    let state = context::parse_tracestate(values.iter().copied());
    assert_eq!(state, expected_tracestate(values.to_vec()));
    assert_eq!(context::parse_tracestate([state.as_bytes()]), state);
}

/// `set`: entries that are set afterwards.
fn check_baggage(values: &[&[u8]], set: &[(String, String)]) {
    let parsed = context::parse_baggage(values.iter().copied());
    let mut expected = expected_baggage(values);
    let pairs = |entries: &[BaggageEntry]| -> Vec<_> {
        entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    let expected_pairs: Vec<_> =
        expected.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
    assert_eq!(pairs(&parsed), expected_pairs);
    let sent = context::format_baggage(&parsed);
    assert_eq!(sent, expected_value(&expected).0);
    assert!(sent.len() <= context::MAX_BAGGAGE_BYTES && sent.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(context::format_baggage(&context::parse_baggage([sent.as_bytes()])), sent);
    assert_eq!(context::forward_baggage(values.iter().copied()), expected_forwarded(values));

    let Ok(joined) = String::from_utf8(values.join(&b","[..])) else { return };
    let entries = set.iter().map(|(key, value)| BaggageEntry::new(key.clone(), value.clone()));
    let merged = context::merge_baggage(&joined, entries);
    for (key, value) in set {
        expected.retain(|entry| entry.key != *key);
        expected.push(Entry { key: key.clone(), value: value.clone(), properties: String::new() });
    }
    assert_eq!(merged, expected_value(&expected));
}

fn expected_traceparent(value: &[u8]) -> Option<String> {
    let value = String::from_utf8_lossy(value);
    let fields: Vec<&str> = value.trim_matches([' ', '\t']).split('-').collect();
    let [version, trace_id, parent_id, flags, rest @ ..] = &fields[..] else { return None };
    let sizes = [(version, 2), (trace_id, 32), (parent_id, 16), (flags, 2)];
    let hex = |text: &str| text.chars().all(|c| "0123456789abcdef".contains(c));
    let nonzero = |text: &str| text.chars().any(|c| c != '0');
    let valid = sizes.iter().all(|(text, size)| text.len() == *size && hex(text))
        && *version != "ff"
        && (*version != "00" || rest.is_empty())
        && nonzero(trace_id)
        && nonzero(parent_id);
    let flags = u8::from_str_radix(flags, 16).ok()? & 3;
    valid.then(|| format!("00-{trace_id}-{parent_id}-{flags:02x}"))
}

fn expected_tracestate(values: Vec<&[u8]>) -> String {
    let combined = values.join(&b","[..]);
    let combined = String::from_utf8_lossy(&combined);
    let members: Vec<&str> = combined
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|m| !m.is_empty())
        .collect();
    let key = |member: &str| member.split('=').next().unwrap_or_default().to_owned();
    let is_valid = |member: &&str| {
        let parts: Vec<&str> = member.split('=').collect();
        let [key, value] = parts[..] else { return false };
        (1..=256).contains(&key.len())
            && key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*/@".contains(c))
            && (1..=256).contains(&value.len())
            && value.chars().all(|c| (' '..='~').contains(&c))
    };
    if members.len() > 32 || !members.iter().all(is_valid) {
        return String::new();
    }
    let mut kept: Vec<&str> = Vec::new();
    for member in members {
        if !kept.iter().any(|other| key(other) == key(member)) {
            kept.push(member);
        }
    }
    while kept.join(",").len() > 512 {
        let last_large = kept.iter().rposition(|member| member.len() > 128);
        kept.remove(last_large.unwrap_or(kept.len() - 1));
    }
    kept.join(",")
}

struct Entry {
    key: String,
    value: String,
    properties: String,
}

/// What ends within the first 8192 bytes, as far as it is valid; the first 180 of that.
fn expected_baggage(values: &[&[u8]]) -> Vec<Entry> {
    let joined = values.join(&b","[..]);
    let mut end = 0;
    let ends_within = |member: &&[u8]| {
        end += member.len() + 1;
        end - 1 <= 8192
    };
    let members = joined.split(|byte| *byte == b',').take_while(ends_within);
    members
        .filter_map(|member| expected_member(&String::from_utf8(member.to_vec()).ok()?))
        .take(180)
        .collect()
}

fn expected_member(member: &str) -> Option<Entry> {
    let blank = [' ', '\t'];
    let mut parts = member.split(';').map(|part| match part.find('=') {
        Some(at) => (part[..at].trim_matches(blank), Some(part[at + 1..].trim_matches(blank))),
        None => (part.trim_matches(blank), None),
    });
    let valid = |(key, value): &(&str, Option<&str>)| {
        is_token(key) && value.unwrap_or_default().chars().all(is_baggage_octet)
    };
    if !parts.clone().all(|part| valid(&part)) {
        return None;
    }
    let (key, value) = parts.next()?;
    let properties = parts.map(|(key, value)| match value {
        Some(value) => format!(";{key}={value}"),
        None => format!(";{key}"),
    });
    Some(Entry { key: key.to_owned(), value: decoded(value?), properties: properties.collect() })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// As W3C Baggage writes it down.
fn is_baggage_octet(c: char) -> bool {
    matches!(c, '\x21' | '\x23'..='\x2b' | '\x2d'..='\x3a' | '\x3c'..='\x5b' | '\x5d'..='\x7e')
}

/// What is no `%` and two digits stands for itself; what is no UTF-8 then, for U+FFFD.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The entries that are valid and fit, and how many are not in it.
fn expected_value(entries: &[Entry]) -> (String, usize) {
    let encoded = |value: &str| -> String {
        let plain = |byte: u8| is_baggage_octet(char::from(byte)) && byte != b'%';
        value
            .bytes()
            .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let (mut kept, mut bytes): (Vec<String>, usize) = (Vec::new(), 0);
    for entry in entries.iter().filter(|entry| is_token(&entry.key)) {
        let member = format!("{}={}{}", entry.key, encoded(&entry.value), entry.properties);
        let comma = usize::from(!kept.is_empty());
        if kept.len() < 180 && bytes + comma + member.len() <= 8192 {
            bytes += comma + member.len();
            kept.push(member);
        }
    }
    (kept.join(","), entries.len() - kept.len())
}

/// Whatever a header may hold, until the first that does not fit.
fn expected_forwarded(values: &[&[u8]]) -> String {
    let mut kept: Vec<String> = Vec::new();
    for member in values.join(&b","[..]).split(|byte| *byte == b',') {
        let Ok(member) = std::str::from_utf8(member) else { continue };
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() || !member.chars().all(|c| c == '\t' || (' '..='~').contains(&c)) {
            continue;
        }
        let bytes: usize = kept.iter().map(|other| other.len() + 1).sum();
        if kept.len() == 180 || bytes + member.len() > 8192 {
            break;
        }
        kept.push(member.to_owned());
    }
    kept.join(",")
}
