//! Request bodies, compressed in one go on the calling thread. Level 1 of both methods: more levels cost several times
//! the time for a few per cent.

use std::io::Write;

use crate::config::Compression;

pub(super) const LEVEL: u32 = 1;
/// A larger body, which only a single record of that size makes, goes as it is: nothing else happens on the thread
/// meanwhile, and 64 MiB take most of a second.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Replaces `out` with the compressed `body` and returns the `content-encoding` to declare. `None`: `out` is the body
/// as it is, because that was asked for, or it is larger than 4 MiB, or the compressor had no memory.
pub fn compress(method: Compression, body: &[u8], out: &mut Vec<u8>) -> Option<&'static str> {
    out.clear();
    let encoded = match method {
        _ if body.len() > MAX_BYTES => None,
        Compression::None => None,
        Compression::Gzip => gzip(body, out).then_some("gzip"),
        Compression::Zstd => zstd(body, out).then_some("zstd"),
    };
    if encoded.is_none() {
        out.clear();
        out.extend_from_slice(body);
    }
    encoded
}

fn gzip(body: &[u8], out: &mut Vec<u8>) -> bool {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(LEVEL));
    encoder.write_all(body).and_then(|()| encoder.try_finish()).is_ok()
}

pub(super) fn zstd(body: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(zstd::zstd_safe::compress_bound(body.len()));
    zstd::bulk::Compressor::new(LEVEL as i32)
        .and_then(|mut encoder| encoder.compress_to_buffer(body, out))
        .is_ok()
}
