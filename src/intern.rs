//! Texts that many records share, each stored once: span names, attribute keys, instrumentation scopes.
//!
//! A text gets an id at its *second* sighting, so request ids in span names cannot fill the table. Insertion happens
//! under a lock that is only ever tried: a caller that does not get it sends the text inline. Look-ups take no lock
//! and allocate nothing. The table never shrinks; when it is full, texts travel inline.

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
#[derive(Debug, Default)]
pub struct Interner {}

impl Interner {
    /// The text of an id that this interner gave out; empty for an unknown id.
    pub fn resolve(&self, _id: StrId) -> &[u8] {
        todo!()
    }

    /// The id of a text: at once if known, given at the second sighting, `None` while it travels inline.
    pub fn intern(&self, _text: &[u8]) -> Option<StrId> {
        todo!()
    }

    /// Registers a scope (or finds it again); its index goes into `Header::scope`. Takes a lock: not for hot calls.
    /// When 65 535 scopes exist, further ones share index 0.
    pub fn scope_index(&self, _scope: &Scope) -> u16 {
        todo!()
    }

    /// The scope at an index; scope 0 is the default scope `pytracingx`.
    pub fn scope(&self, _index: u16) -> Scope {
        todo!()
    }
}
