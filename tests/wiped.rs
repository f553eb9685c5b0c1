//! Secrets leave no copy behind: whatever held one is overwritten before its memory goes back. Every block of the process is
//! looked through when it is freed.
//!
//! The wire form of a header or path (what `http` and the socket get) is out of reach; an access key secret has none.

#![expect(unsafe_code, reason = "a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pytracingx::config::{
    Config, Endpoint, PathRule, Protocol, Secret, Signal, SlsCredentials, SlsSinkConfig, TransportConfig,
};
use pytracingx::transport::sls::SlsDestination;
use pytracingx::transport::sls_credentials::Credentials;
use pytracingx::transport::sls_sign::AccessKey;

/// Every secret of these tests holds it.
const CANARY: &[u8] = b"c4n4ry-that-nothing-else-holds";

struct Searching;

static FOUND: AtomicUsize = AtomicUsize::new(0);

/// # Safety
/// `memory` is a block of `layout` that is still allocated.
unsafe fn search(memory: *const u8, layout: Layout) {
    // SAFETY: as the caller promises. What was never written is read too, which is what a thief would do; nothing but
    // comparisons depends on it.
    let bytes = unsafe { std::slice::from_raw_parts(memory, layout.size()) };
    let is_found = bytes.windows(CANARY.len()).any(|window| window == CANARY);
    FOUND.fetch_add(usize::from(is_found), Ordering::Relaxed);
}

// SAFETY: hands every call on to the system's allocator.
unsafe impl GlobalAlloc for Searching {
    /// Zeroed, so that every byte of a block may be read.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the block is freed after it was looked through.
        unsafe {
            search(memory, layout);
            System.dealloc(memory, layout);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Searching = Searching;

/// How many blocks with a secret in them `work` frees.
fn left_behind(work: impl FnOnce()) -> usize {
    let before = FOUND.load(Ordering::Relaxed);
    work();
    FOUND.load(Ordering::Relaxed) - before
}

fn secret(what: &str) -> Secret {
    let canary = str::from_utf8(CANARY).unwrap();
    let mut text = String::with_capacity(CANARY.len() + what.len());
    text.push_str(canary);
    text.push_str(what);
    Secret::new(text)
}

fn sls(region: Option<&str>) -> SlsSinkConfig {
    let credentials = SlsCredentials::Static {
        ak_id: Secret::new("id"),
        ak_secret: secret("-secret"),
        security_token: None,
    };
    let place = ["endpoint", "project", "logstore"];
    let sink = SlsSinkConfig::new(place, "127.0.0.1:9", "p".into(), "l".into(), credentials).unwrap();
    SlsSinkConfig { region: region.map(str::to_owned), ..sink }
}

fn main() {
    assert_eq!(left_behind(|| drop(CANARY.to_vec())), 1, "the search finds what is not wiped");

    let signing = left_behind(|| {
        for region in [None, Some("cn-hangzhou")] {
            let sink = sls(region);
            let credentials = Credentials::of(&sink.credentials);
            let key = credentials.current(0).unwrap();
            let mut quoted = vec![0; CANARY.len()];
            key.redact(&mut quoted);
            SlsDestination::new(&sink).headers(&key, b"body", 4, None, 1_709_622_489).unwrap();
            let config = Config { sls_log_sinks: vec![sink.clone(), sink], ..Config::default() };
            drop(config.clone());
        }
    });
    assert_eq!(signing, 0, "an access key secret is copied, signed with for V1 and V4, and dropped");

    let renewing = left_behind(|| {
        let credentials = Credentials::provided();
        for number in ["1", "2"] {
            let key = AccessKey {
                id: secret(number),
                secret: secret(number),
                security_token: Some(secret(number)),
            };
            credentials.set(key, None);
        }
    });
    assert_eq!(renewing, 0, "a key that is replaced, with its token");

    // What the caller still has is its own affair.
    let url = format!("http://h/adapt_{}/api/otlp/traces", str::from_utf8(CANARY).unwrap());
    let configured = left_behind(|| {
        let (endpoint, protocol) =
            Endpoint::parse("endpoint", &url, None, None, PathRule::Signal(Signal::Traces)).unwrap();
        assert_eq!(protocol, Protocol::HttpProtobuf);
        let mut transport = TransportConfig::new(endpoint, protocol);
        transport.headers = vec![("Authentication".into(), secret("-header"))];
        drop(transport.clone());
    });
    assert_eq!(configured, 0, "a token in a path, or in a header");
}
