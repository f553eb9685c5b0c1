//! Signatures of SLS requests, version 1 (HMAC-SHA1) and version 4 (HMAC-SHA256, bound to a region). Pure functions of the
//! request, the key and the time: sign each attempt anew. Nothing here prints a secret; what it derives from one is wiped,
//! except for the header values themselves, which are marked sensitive.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{self, HeaderName, HeaderValue, InvalidHeaderValue};
use md5::Md5;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::Secret;
use crate::ids::hex_into;

/// Of the API that PutLogs is part of.
pub const API_VERSION: &str = "0.6.0";

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-log-content-sha256");
const LOG_DATE: HeaderName = HeaderName::from_static("x-log-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-acs-security-token");
const SIGNATURE_METHOD: HeaderName = HeaderName::from_static("x-log-signaturemethod");

/// RFC 3986's unreserved characters stay.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// 9999-12-31T23:59:59Z: beyond it, dates have no format.
const LAST_SECOND: u64 = 253_402_300_799;

/// Who signs: one consistent set. `Debug` shows `***`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Access key id.
    pub id: Secret,
    /// Access key secret.
    pub secret: Secret,
    /// STS token, of a temporary key.
    pub security_token: Option<Secret>,
}

impl AccessKey {
    /// Blots out id, secret and token in a server's words, for servers quote what they refuse. Keeps the length.
    pub fn redact(&self, body: &mut [u8]) {
        let secrets = [Some(&self.id), Some(&self.secret), self.security_token.as_ref()];
        secrets.into_iter().flatten().for_each(|secret| secret.redact(body));
    }
}

/// A request before it is signed.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// `POST` for PutLogs.
    pub method: &'a str,
    /// As it goes on the wire, without query.
    pub path: &'a str,
    /// Names and values, decoded.
    pub query: &'a [(&'a str, &'a str)],
    /// `Host`, exactly as it goes on the wire.
    pub host: &'a str,
    /// `Content-Type`, if the request has one.
    pub content_type: Option<&'a str>,
    /// The `x-log-*` headers that do not come from signing; visible ASCII.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// As it goes on the wire.
    pub body: &'a [u8],
}

/// The headers that the signature adds, for a request that is made at `unix_seconds`: version 4 with a region, else
/// version 1. `Host`, `Content-Type` and the given headers must be sent as they were given.
///
/// # Errors
/// A key id or token that no header can carry.
pub fn sign(
    request: &Unsigned<'_>,
    key: &AccessKey,
    region: Option<&str>,
    unix_seconds: u64,
) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST_SECOND)));
    let mut added = Vec::with_capacity(5);
    if let Some(token) = &key.security_token {
        added.push((SECURITY_TOKEN, sensitive(token.expose())?));
    }
    let authorization = match region {
        None => version_1(request, key, &date, &mut added)?,
        Some(region) => version_4(request, key, region, &date, &mut added)?,
    };
    added.push((header::AUTHORIZATION, sensitive(&authorization)?));
    Ok(added)
}

fn version_1(
    request: &Unsigned<'_>,
    key: &AccessKey,
    date: &str,
    added: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<Zeroizing<String>, InvalidHeaderValue> {
    added.push((SIGNATURE_METHOD, HeaderValue::from_static("hmac-sha1")));
    added.push((header::DATE, HeaderValue::from_str(date)?));
    let mut md5 = String::new();
    if !request.body.is_empty() {
        md5 = hex(&Md5::digest(request.body)).to_ascii_uppercase();
        added.push((HeaderName::from_static("content-md5"), HeaderValue::from_str(&md5)?));
    }

    // It holds the token.
    let mut text = Zeroizing::new(String::new());
    text.reserve(512 + token_bytes(key));
    let Unsigned { method, path, .. } = request;
    put(&mut text, format_args!("{method}\n{md5}\n{}\n{date}\n", request.content_type.unwrap_or_default()));
    put_lines(&mut text, &own_headers(request, added));
    text.push_str(path);
    for (index, (name, value)) in sorted(request.query).into_iter().enumerate() {
        put(&mut text, format_args!("{}{name}={value}", if index == 0 { '?' } else { '&' }));
    }
    let signature = hmac::<Hmac<Sha1>>(key.secret.expose().as_bytes(), text.as_bytes());
    Ok(Zeroizing::new(format!("LOG {}:{}", key.id.expose(), STANDARD.encode(signature))))
}

fn version_4(
    request: &Unsigned<'_>,
    key: &AccessKey,
    region: &str,
    date: &str,
    added: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<Zeroizing<String>, InvalidHeaderValue> {
    let body_hash = hex(&Sha256::digest(request.body));
    let datetime = basic_iso(date);
    let day = &datetime[..8];
    added.push((CONTENT_SHA256, HeaderValue::from_str(&body_hash)?));
    added.push((LOG_DATE, HeaderValue::from_str(&datetime)?));

    let mut headers = own_headers(request, added);
    headers.extend(request.content_type.map(|value| (header::CONTENT_TYPE.as_str(), value)));
    headers.push((header::HOST.as_str(), request.host));
    headers.sort_unstable();
    // It holds the token.
    let mut text = Zeroizing::new(String::new());
    text.reserve(1024 + token_bytes(key));
    put(&mut text, format_args!("{}\n{}\n", request.method, request.path));
    for (index, (name, value)) in sorted(request.query).into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "&" });
        text.push_str(name);
        if !value.is_empty() {
            put(&mut text, format_args!("={}", utf8_percent_encode(value, QUERY_VALUE)));
        }
    }
    text.push('\n');
    put_lines(&mut text, &headers);
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    put(&mut text, format_args!("\n{}\n{body_hash}", names.join(";")));

    let scope = format!("{day}/{region}/sls/aliyun_v4_request");
    let to_sign = format!("SLS4-HMAC-SHA256\n{datetime}\n{scope}\n{}", hex(&Sha256::digest(text.as_bytes())));
    let mut derived = Zeroizing::new(["aliyun_v4".as_bytes(), key.secret.expose().as_bytes()].concat());
    for step in [day, region, "sls", "aliyun_v4_request", &to_sign] {
        derived = Zeroizing::new(hmac::<Hmac<Sha256>>(&derived, step.as_bytes()));
    }
    let id = key.id.expose();
    Ok(Zeroizing::new(format!("SLS4-HMAC-SHA256 Credential={id}/{scope},Signature={}", hex(&derived))))
}

/// The headers that SLS and its gateway define, sorted by name.
fn own_headers<'a>(
    request: &Unsigned<'a>,
    added: &'a [(HeaderName, HeaderValue)],
) -> Vec<(&'a str, &'a str)> {
    let all = request.headers.iter().chain(added);
    let all = all.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
    let mut own: Vec<_> =
        all.filter(|(name, _)| name.starts_with("x-log-") || name.starts_with("x-acs-")).collect();
    own.sort_unstable();
    own
}

fn put_lines(text: &mut String, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        put(text, format_args!("{name}:{}\n", value.trim()));
    }
}

fn sorted<'a>(query: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut query = query.to_vec();
    query.sort_unstable();
    query
}

/// `Tue, 05 Mar 2024 07:08:09 GMT` as `20240305T070809Z`.
fn basic_iso(date: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(&date[8..11]).map_or(0, |at| at / 3 + 1);
    let time = date[17..25].replace(':', "");
    format!("{}{month:02}{}T{time}Z", &date[12..16], &date[5..7])
}

fn hmac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; 2 * bytes.len()];
    hex_into(bytes, &mut text);
    String::from_utf8(text).expect("hexadecimal digits")
}

fn token_bytes(key: &AccessKey) -> usize {
    key.security_token.as_ref().map_or(0, |token| token.expose().len())
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(arguments);
}

fn sensitive(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(value)?;
    value.set_sensitive(true);
    Ok(value)
}
