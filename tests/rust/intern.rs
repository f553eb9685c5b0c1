//! The interner: second sightings, agreement between threads, a full table, scopes.

use std::sync::Barrier;
use std::thread;

use pytracingx::intern::{Interner, MAX_TEXT_BYTES, Scope};
use pytracingx::record::StrId;

#[test]
fn a_text_gets_its_id_at_the_second_sighting_and_keeps_it() {
    let interner = Interner::default();
    assert_eq!(interner.intern(b"GET /"), None);
    assert_eq!(interner.text_id(b"GET /"), None);
    let id = interner.intern(b"GET /").unwrap();
    assert_ne!(id, StrId::NONE);
    assert_eq!(interner.intern(b"GET /"), Some(id));
    assert_eq!(interner.text_id(b"GET /"), Some(id));
    assert_eq!(interner.intern_now(b"GET /"), Some(id));
    assert_eq!(interner.resolve(id), b"GET /");
}

#[test]
fn looking_up_is_not_a_sighting() {
    let interner = Interner::default();
    assert_eq!(interner.text_id(b"a"), None);
    assert_eq!(interner.intern(b"a"), None);
}

#[test]
fn what_configuration_names_gets_an_id_at_once() {
    let interner = Interner::default();
    for text in [&b""[..], b"a", b"nul\0inside", &[0xff; MAX_TEXT_BYTES]] {
        let id = interner.intern_now(text).unwrap();
        assert_eq!(interner.resolve(id), text);
        assert_eq!(interner.intern(text), Some(id));
    }
}

#[test]
fn long_texts_travel_inline() {
    let interner = Interner::default();
    let long = [b'x'; MAX_TEXT_BYTES + 1];
    for _ in 0..3 {
        assert_eq!(interner.intern(&long), None);
    }
    assert_eq!(interner.intern_now(&long), None);
    assert_eq!(interner.text_id(&long), None);
}

#[test]
fn unknown_ids_have_no_text() {
    let interner = Interner::default();
    interner.intern_now(b"a").unwrap();
    for id in [0, 2, 16_383, 16_384, (1 << 24) - 1, u32::MAX] {
        assert_eq!(interner.resolve(StrId(id)), b"");
    }
}

/// Threads that see the same texts at once agree on every id, and no two texts share one.
#[test]
fn threads_agree_on_ids() {
    const THREADS: usize = 4;
    let texts: Vec<String> = (0..1000).map(|i| format!("operation {i}")).collect();
    let interner = Interner::default();
    let start = Barrier::new(THREADS);
    let ids: Vec<Vec<StrId>> = thread::scope(|scope| {
        let work = |thread: usize| {
            let (texts, interner, start) = (&texts, &interner, &start);
            move || {
                start.wait();
                let mut ids = vec![StrId::NONE; texts.len()];
                while ids.contains(&StrId::NONE) {
                    for i in 0..texts.len() {
                        // Each thread begins elsewhere, so that they meet in the middle of each other's work.
                        let i = (i + thread * 250) % texts.len();
                        let text = texts[i].as_bytes();
                        if let Some(id) = interner.intern(text) {
                            assert!(ids[i] == StrId::NONE || ids[i] == id);
                            assert_eq!(interner.resolve(id), text);
                            ids[i] = id;
                        }
                    }
                }
                ids
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|of_thread| *of_thread == ids[0]));
    let mut distinct: Vec<u32> = ids[0].iter().map(|id| id.0).collect();
    distinct.sort_unstable();
    assert_eq!(distinct, (1..=1000).collect::<Vec<u32>>());
}

/// Ordinary texts leave room for what configuration names, and nothing is overwritten.
#[test]
fn a_full_table_sends_texts_inline_and_keeps_its_reserve() {
    let fill = |make: &dyn Fn(usize) -> Vec<u8>| {
        let interner = Interner::default();
        let mut known = Vec::new();
        for i in 0..20_000 {
            let text = make(i);
            let id = interner.intern(&text).or_else(|| interner.intern(&text));
            known.extend(id.map(|id| (id, text)));
        }
        let ordinary = known.len();
        for i in 20_000..40_000 {
            let text = make(i);
            known.extend(interner.intern_now(&text).map(|id| (id, text)));
        }
        for (id, text) in &known {
            assert_eq!(interner.resolve(*id), text);
            assert_eq!(interner.intern(text), Some(*id));
        }
        (ordinary, known.len() - ordinary)
    };
    assert_eq!(fill(&|i| i.to_string().into_bytes()), (16_383 - 1024, 1024), "ids run out");
    let wide = |i: usize| format!("{i:0>128}").into_bytes();
    assert_eq!(fill(&wide), ((960 << 10) / 128, (64 << 10) / 128), "text bytes run out");
}

#[test]
fn names_seen_once_take_no_room() {
    let interner = Interner::default();
    for i in 0..50_000 {
        assert_eq!(interner.intern(format!("GET /users/{i}").as_bytes()), None);
    }
    assert_eq!(interner.intern_now(b"first"), Some(StrId(1)));
}

#[test]
fn scopes_have_indices() {
    let interner = Interner::default();
    let default = interner.scope(0);
    assert_eq!((default.name.as_str(), default.version.as_str()), ("pytracingx", env!("CARGO_PKG_VERSION")));
    let scope =
        |version: &str| Scope { name: "lib".into(), version: version.into(), schema_url: String::new() };
    assert_eq!(interner.scope_index(&default), 0);
    assert_eq!(interner.scope_index(&scope("1")), 1);
    assert_eq!(interner.scope_index(&scope("2")), 2);
    assert_eq!(interner.scope_index(&scope("1")), 1);
    assert_eq!(interner.scope(2), scope("2"));
    assert_eq!(interner.scope(3), default);
}

#[test]
fn further_scopes_share_the_default() {
    let interner = Interner::default();
    let scope = |i: usize| Scope { name: i.to_string(), ..Scope::default() };
    for i in 1..65_535 {
        assert_eq!(usize::from(interner.scope_index(&scope(i))), i);
    }
    assert_eq!(interner.scope_index(&scope(65_535)), 0);
    assert_eq!(interner.scope_index(&scope(65_534)), 65_534);
}
