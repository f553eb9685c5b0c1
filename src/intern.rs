//! Texts that many records share, each stored once: span names, attribute keys, instrumentation scopes.
//!
//! A text gets an id at its *second* sighting, so request ids in span names cannot fill the table. Insertion happens
//! under a lock that is only ever tried: a caller that does not get it sends the text inline. Look-ups take no lock
//! and allocate nothing. The table never shrinks; when it is full, texts travel inline.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::record::StrId;

/// An instrumentation scope, as `get_tracer` and its siblings name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// Usually the instrumented library's name; empty for the module-level functions.
    pub name: String,
    /// Its version, empty when unknown.
    pub version: String,
    /// Schema URL, empty when none.
    pub schema_url: String,
}

/// See the module documentation. Shared by recording threads and the exporter of one session.
#[derive(Debug)]
pub struct Interner {
    texts: Box<[OnceLock<&'static [u8]>]>,
    scopes: Mutex<Vec<Scope>>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { texts: (0..1024).map(|_| OnceLock::new()).collect(), scopes: Mutex::default() }
    }
}

impl Interner {
    /// The text of an id that this interner gave out; empty for an unknown id.
    pub fn resolve(&self, id: StrId) -> &[u8] {
        self.texts.get((id.0 as usize).wrapping_sub(1)).and_then(OnceLock::get).copied().unwrap_or_default()
    }

    /// The id of a text: at once if known, given at the second sighting, `None` while it travels inline.
    pub fn intern(&self, text: &[u8]) -> Option<StrId> {
        let index = self
            .texts
            .iter()
            .position(|slot| *slot.get_or_init(|| Box::leak(text.to_vec().into_boxed_slice())) == text)?;
        Some(StrId(index as u32 + 1))
    }

    /// Registers a scope (or finds it again); its index goes into `Header::scope`. Takes a lock: not for hot calls.
    /// When 65 535 scopes exist, further ones share index 0.
    pub fn scope_index(&self, scope: &Scope) -> u16 {
        let mut scopes = self.scopes.lock();
        let index = scopes.iter().position(|known| known == scope).unwrap_or_else(|| {
            scopes.push(scope.clone());
            scopes.len() - 1
        });
        (index + 1) as u16
    }

    /// The scope at an index; scope 0 is the default scope `pytracingx`.
    pub fn scope(&self, index: u16) -> Scope {
        let default = Scope { name: "pytracingx".into(), ..Scope::default() };
        let scopes = self.scopes.lock();
        usize::from(index).checked_sub(1).and_then(|index| scopes.get(index).cloned()).unwrap_or(default)
    }
}
