//! Trace Context and Baggage from arbitrary bytes, compared with a second reading of the specification that shares
//! no code with the first: text functions where the parser works on bytes. Lines are header values.

#![cfg_attr(fuzzing, no_main)]

mod shim;

use pytracingx::context;

fuzz_target!(traceparent);

/// One input of the fuzzer.
fn traceparent(data: &[u8]) {
    let values = || data.split(|byte| *byte == b'\n');
    for value in values() {
        let parsed = context::parse_traceparent(value)
            .map(|(trace_id, span_id, flags)| context::format_traceparent(trace_id, span_id, flags).to_vec());
        assert_eq!(parsed, expected_traceparent(value).map(String::into_bytes));
    }

    let state = context::parse_tracestate(values());
    assert_eq!(state, expected_tracestate(values().collect()));
    assert_eq!(context::parse_tracestate([state.as_bytes()]), state);

    let sent = context::format_baggage(&context::parse_baggage(values()));
    assert!(sent.len() <= context::MAX_BAGGAGE_BYTES && sent.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(context::format_baggage(&context::parse_baggage([sent.as_bytes()])), sent);
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
