//! Who signs SLS requests: fixed, or given and renewed by a provider.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pytracingx::config::{Secret, SlsCredentials};
use pytracingx::observe::Observations;
use pytracingx::transport::sls_credentials::Credentials;
use pytracingx::transport::sls_sign::AccessKey;

fn key(id: &str, token: Option<&str>) -> AccessKey {
    AccessKey { id: Secret::new(id), secret: Secret::new("c4n4ry"), security_token: token.map(Secret::new) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_fixed_key_stays_and_is_never_asked_for() {
    let configured = SlsCredentials::Static {
        ak_id: Secret::new("id"),
        ak_secret: Secret::new("c4n4ry"),
        security_token: None,
    };
    let credentials = Credentials::of(&configured);
    assert_eq!(credentials.current(u64::MAX), Some(key("id", None)));
    credentials.ask_refresh();
    assert!(!credentials.is_refresh_wanted() && !credentials.is_provided());
    assert_eq!(credentials.wanted_in(), None);
}

#[test]
fn a_provided_key_is_wanted_until_it_is_there_and_before_it_expires() {
    let credentials = Credentials::of(&SlsCredentials::Provider);
    assert!(credentials.is_refresh_wanted());
    assert_eq!(credentials.current(0), None);

    let expires = now() + 3600;
    credentials.set(key("a", Some("token")), Some(expires));
    assert!(!credentials.is_refresh_wanted());
    assert_eq!(credentials.current(expires - 1), Some(key("a", Some("token"))));
    assert_eq!(credentials.current(expires), None, "expired");

    // The last five minutes, or a quarter of what is left: both are at hand, but for the pause after an answer.
    for left in [0, 1] {
        credentials.set(key("b", None), Some(now() + left));
        let wait = credentials.wanted_in().unwrap();
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
    }
    credentials.set(key("b", None), Some(now() + 8));
    let wait = credentials.wanted_in().unwrap();
    assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(6), "{wait:?}");
    // Without an expiry it is renewed when it is a temporary one. Never is "look again" all the same.
    for token in [None, Some("token")] {
        credentials.set(key("c", token), None);
        assert_eq!(credentials.wanted_in(), Some(Duration::from_secs(60)));
        assert!(credentials.current(u64::MAX).is_some());
    }
}

#[test]
fn a_refused_key_is_asked_for_again_and_kept_meanwhile() {
    let credentials = Credentials::provided();
    let observations = Arc::new(Observations::default());
    credentials.serve(observations.clone());
    credentials.set(key("a", None), None);
    let (server, bell) = (credentials.clone(), observations.clone());
    // Far longer than the test has: only the bell shortens it.
    let served = thread::spawn(move || bell.wait_until_due(|| server.wanted_in().unwrap()));
    credentials.ask_refresh();
    assert!(!credentials.is_refresh_wanted(), "not within a second of the last answer");
    assert!(credentials.wanted_in().unwrap() <= Duration::from_secs(1));
    assert!(served.join().unwrap());
    assert!(credentials.is_refresh_wanted());
    assert_eq!(credentials.current(now()), Some(key("a", None)));
    credentials.set(key("b", None), None);
    assert_eq!(credentials.current(now()), Some(key("b", None)));
    assert_eq!(credentials.wanted_in(), Some(Duration::from_secs(60)));

    observations.close();
    assert!(!observations.wait_until_due(|| Duration::ZERO), "the session has ended");
}

#[test]
fn failures_are_further_and_further_apart_and_the_first_is_told() {
    let credentials = Credentials::provided();
    let mut told = 0;
    for pause_s in [1, 2, 4, 8, 16, 32, 60, 60] {
        told += usize::from(credentials.fail("no\nmetadata\u{202e} service"));
        let wait = credentials.wanted_in().unwrap().as_secs_f64();
        assert!(wait <= f64::from(pause_s) && wait > f64::from(pause_s) - 0.9, "{wait} of {pause_s}");
        assert!(!credentials.is_refresh_wanted());
    }
    assert_eq!(told, 1);
    assert_eq!(credentials.last_error().as_deref(), Some("no metadata service"));
    credentials.set(key("a", None), None);
    assert_eq!(credentials.last_error(), None);
    assert!(credentials.fail("again"), "told anew");
    assert_eq!(credentials.current(now()), Some(key("a", None)), "what there is stays");
}

#[test]
fn nothing_shows_a_secret() {
    let credentials = Credentials::provided();
    credentials.set(key("c4n4ry-id", Some("c4n4ry-token")), None);
    let shown = format!("{credentials:?}");
    assert!(shown.contains("***") && !shown.contains("c4n4ry"), "{shown}");
}
