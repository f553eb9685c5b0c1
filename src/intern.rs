//! Texts that many records share, each stored once: span names, attribute keys, instrumentation scopes.
//!
//! A text gets an id at its *second* sighting, so request ids in span names cannot fill the table. Insertion happens
//! under a lock that is only ever tried: a caller that does not get it sends the text inline. Look-ups take no lock,
//! allocate nothing and never wait. The table never shrinks and has a fixed size (1.3 MiB of address space, resident
//! only where touched: some pages for a hundred names); when it is full, texts travel inline.
#![expect(unsafe_code, reason = "readers see the arena while the one writer appends to it")]

use std::alloc::{Layout, handle_alloc_error};
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::record::StrId;
use crate::sys::memory::Region;

/// Longer texts are never interned.
pub const MAX_TEXT_BYTES: usize = 128;
/// Ids, of which 0 is none.
const IDS: usize = 1 << ID_BITS;
const ID_BITS: u32 = 14;
/// Ids that only [`Interner::intern_now`] may take.
const RESERVED_IDS: usize = 1024;
const TEXT_BYTES: usize = 1 << 20;
/// Text bytes that only [`Interner::intern_now`] may take.
const RESERVED_TEXT_BYTES: usize = 64 << 10;
/// At most half full, so that a probe soon meets an empty entry.
const ENTRIES: usize = 2 * IDS;
/// Texts seen once that are remembered; a newer one replaces an older one in its place.
const SEEN: usize = 4096;

/// An instrumentation scope, as `get_tracer` and its siblings name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// Usually the instrumented library's name.
    pub name: String,
    /// Its version, empty when unknown.
    pub version: String,
    /// Schema URL, empty when none.
    pub schema_url: String,
}

/// See the module documentation. Shared by recording threads and the exporter of one session.
#[derive(Debug)]
pub struct Interner {
    arena: Region,
    /// Seeded per process: nobody outside can choose texts that collide.
    hasher: RandomState,
    /// No room is left for ordinary texts. Relaxed: a late reader only tries in vain.
    full: AtomicBool,
    writer: Mutex<Writer>,
    scopes: Mutex<Scopes>,
}

/// Indices and offsets only, no pointers; all-zero is the empty state.
#[repr(C)]
struct Arena {
    /// Hash table: id in the low [`ID_BITS`], the hash's top bits above them; 0 is empty. Written last, with Release.
    entries: [AtomicU32; ENTRIES],
    /// By id: offset in `text` << 32 | length. Written with Release, after the text.
    places: [AtomicU64; IDS],
    /// By hash: the hash's top half, of texts seen once. Relaxed throughout: a lost one costs another sighting.
    seen: [AtomicU32; SEEN],
    /// Only bytes that no place covers yet are ever written, by the holder of the `writer` lock.
    text: UnsafeCell<[u8; TEXT_BYTES]>,
}

#[derive(Debug)]
struct Writer {
    next_id: usize,
    text_end: usize,
}

#[derive(Debug, Default)]
struct Scopes {
    by_index: Vec<Arc<Scope>>,
    indices: HashMap<Arc<Scope>, u16>,
}

impl Interner {
    /// An empty table.
    ///
    /// # Errors
    /// The operating system's, when it has no address space left.
    pub fn new() -> io::Result<Self> {
        let interner = Self {
            arena: Region::reserve(size_of::<Arena>())?,
            hasher: RandomState::default(),
            full: AtomicBool::new(false),
            writer: Mutex::new(Writer { next_id: 1, text_end: 0 }),
            scopes: Mutex::default(),
        };
        interner.scope_index(&Scope {
            name: "pytracingx".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_url: String::new(),
        });
        Ok(interner)
    }

    /// The text of an id that this interner gave out; empty for an unknown id.
    #[inline]
    pub fn resolve(&self, id: StrId) -> &[u8] {
        // Acquire: the text was written before its place.
        let place = self.arena().places.get(id.0 as usize).map_or(0, |place| place.load(Ordering::Acquire));
        let (offset, len) = ((place >> 32) as usize, place as u32 as usize);
        // SAFETY: a place lies within the text, and what it covers is never written again.
        unsafe { slice::from_raw_parts(self.arena().text.get().cast::<u8>().add(offset), len) }
    }

    /// The id of a text: at once if known, given at the second sighting, `None` while it travels inline.
    #[inline]
    pub fn intern(&self, text: &[u8]) -> Option<StrId> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        self.find(hash, text).or_else(|| self.sighted(hash, text))
    }

    /// The id of a text, given at the first sighting and from the reserved part of the table if need be: for names
    /// that configuration or a template repeats. Takes a lock: not for hot calls. `None` when the table is full or
    /// the text longer than [`MAX_TEXT_BYTES`].
    pub fn intern_now(&self, text: &[u8]) -> Option<StrId> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        self.find(hash, text).or_else(|| self.insert(&mut self.writer.lock(), hash, text, IDS, TEXT_BYTES))
    }

    /// The id of a text if it has one; remembers nothing.
    #[inline]
    pub fn text_id(&self, text: &[u8]) -> Option<StrId> {
        if text.len() > MAX_TEXT_BYTES { None } else { self.find(self.hasher.hash_one(text), text) }
    }

    #[inline]
    fn arena(&self) -> &Arena {
        const { assert!(align_of::<Arena>() <= crate::sys::memory::ALIGN_BYTES) }
        // SAFETY: the region is as large, aligned, zeroed when reserved (which is a valid `Arena`), used for nothing
        // else, and lives as long as `self`.
        unsafe { &*self.arena.as_ptr().cast() }
    }

    #[inline]
    fn find(&self, hash: u64, text: &[u8]) -> Option<StrId> {
        let mut at = hash as usize;
        loop {
            // Acquire: the entry's place was written before it.
            let entry = self.arena().entries[at % ENTRIES].load(Ordering::Acquire);
            if entry == 0 {
                return None;
            }
            let id = StrId(entry % IDS as u32);
            if entry >> ID_BITS == tag(hash) && self.resolve(id) == text {
                return Some(id);
            }
            at += 1;
        }
    }

    #[cold]
    fn sighted(&self, hash: u64, text: &[u8]) -> Option<StrId> {
        if self.full.load(Ordering::Relaxed) {
            return None;
        }
        let seen = &self.arena().seen[hash as usize % SEEN];
        // Never 0, which is "nothing seen".
        let mark = (hash >> 32) as u32 | 1;
        if seen.load(Ordering::Relaxed) != mark {
            seen.store(mark, Ordering::Relaxed);
            return None;
        }
        let mut writer = self.writer.try_lock()?;
        let id = self.insert(&mut writer, hash, text, IDS - RESERVED_IDS, TEXT_BYTES - RESERVED_TEXT_BYTES);
        if id.is_none() {
            self.full.store(true, Ordering::Relaxed);
        }
        id
    }

    /// `None` when the next id or the end of the text would pass its limit.
    fn insert(&self, writer: &mut Writer, hash: u64, text: &[u8], ids: usize, bytes: usize) -> Option<StrId> {
        if let Some(id) = self.find(hash, text) {
            return Some(id); // another thread was faster
        }
        let (id, offset) = (writer.next_id, writer.text_end);
        if id >= ids || offset + text.len() > bytes {
            return None;
        }
        let arena = self.arena();
        // SAFETY: within the text by the check above; no place covers these bytes, and the lock (`writer` is what it
        // guards) makes this the only write.
        unsafe {
            arena.text.get().cast::<u8>().add(offset).copy_from_nonoverlapping(text.as_ptr(), text.len())
        };
        *writer = Writer { next_id: id + 1, text_end: offset + text.len() };
        arena.places[id].store((offset as u64) << 32 | text.len() as u64, Ordering::Release);
        let mut at = hash as usize;
        // Relaxed: only this lock's holders write entries.
        while arena.entries[at % ENTRIES].load(Ordering::Relaxed) != 0 {
            at += 1;
        }
        arena.entries[at % ENTRIES].store(tag(hash) << ID_BITS | id as u32, Ordering::Release);
        Some(StrId(id as u32))
    }

    /// Registers a scope (or finds it again); its index goes into `Header::scope`. Takes a lock: not for hot calls.
    /// When 65 535 scopes exist, further ones share index 0.
    pub fn scope_index(&self, scope: &Scope) -> u16 {
        let mut scopes = self.scopes.lock();
        if let Some(index) = scopes.indices.get(scope) {
            return *index;
        }
        let index = scopes.by_index.len();
        if index >= usize::from(u16::MAX) {
            return 0;
        }
        let scope = Arc::new(scope.clone());
        scopes.by_index.push(Arc::clone(&scope));
        scopes.indices.insert(scope, index as u16);
        index as u16
    }

    /// The scope at an index; scope 0 is the default scope `pytracingx`, and so is one at an unknown index.
    pub fn scope(&self, index: u16) -> Scope {
        let scopes = self.scopes.lock();
        let scope = scopes.by_index.get(usize::from(index)).or(scopes.by_index.first());
        scope.map(|scope| Scope::clone(scope)).unwrap_or_default()
    }
}

/// The bits of a hash that an entry has room for. Not the low ones: those choose the entry.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> (32 + ID_BITS)) as u32
}

impl Default for Interner {
    /// As [`Interner::new`]; without address space this ends the process, as every failed allocation does.
    fn default() -> Self {
        Self::new().unwrap_or_else(|_| handle_alloc_error(Layout::new::<Arena>()))
    }
}
