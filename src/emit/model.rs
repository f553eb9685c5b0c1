//! The hand-over of sessions as shuttle models use it: the real page and the real [`Current`], and around them, in a few
//! lines, what the session module does under the lifecycle lock (the rest of a session is threads and sockets).
#![expect(unsafe_code, reason = "a cell under the lifecycle lock")]
#![expect(missing_docs, reason = "only shuttle models see this")]

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, Weak};

use super::current::{Current, OfSession};
use crate::sync::statics::{AtomicU64, Ordering::SeqCst};
use crate::sys::fork::Page;

#[derive(Clone, Copy)]
struct Held {
    process: u64,
    /// Built by a recording call, not by `init`.
    revived: bool,
}

pub struct Intake {
    session: u64,
    process: u64,
}

impl OfSession for Intake {
    fn session(&self) -> u64 {
        self.session
    }

    fn process(&self) -> u64 {
        self.process
    }
}

/// A process; after [`Process::fork`] its child.
pub struct Process {
    page: Page,
    current: Current<Intake>,
    /// The session that there is, as in `session::current`. Under the lifecycle lock.
    held: UnsafeCell<Option<Held>>,
    next_id: AtomicU64,
    /// All that were ever built. Not for the scheduler to see.
    built: Mutex<Vec<Weak<Intake>>>,
    /// Threads that found the word wiped. Not for the scheduler to see.
    revivals: AtomicUsize,
}

// SAFETY: the cell is only accessed under the lifecycle lock.
unsafe impl Sync for Process {}

impl Process {
    pub fn new() -> Self {
        Self {
            page: Page::new(),
            current: Current::new(),
            held: UnsafeCell::new(None),
            next_id: AtomicU64::new(1),
            built: Mutex::default(),
            revivals: AtomicUsize::new(0),
        }
    }

    /// As `session::init`. False: there is one.
    pub fn init(&self) -> bool {
        let _guard = self.page.lifecycle_lock();
        let process = self.page.process();
        if self.held().is_some_and(|held| held.process == process && !held.revived) {
            return false;
        }
        self.install(false);
        true
    }

    /// As `session::shutdown`.
    pub fn shutdown(&self) {
        let _guard = self.page.lifecycle_lock();
        self.current.retract(&self.page);
        self.hold(None);
    }

    pub fn fork(&self) {
        self.page.wipe();
    }

    /// As `emit::session` and a thread's first call in that session: the session it records into. Its outer `None`: there
    /// is none; the inner: it ended meanwhile.
    pub fn record(&self) -> Option<Option<Arc<Intake>>> {
        let session = match self.page.session() {
            0 => {
                if self.current.is_active() {
                    self.revive();
                }
                self.page.session()
            }
            session => session,
        };
        (session != 0).then(|| {
            let intake = self.current.of(&self.page, session);
            if let Some(intake) = &intake {
                assert_eq!(intake.session, session);
                assert_eq!(intake.process, self.page.process(), "the parent's");
            }
            intake
        })
    }

    /// As `session::revive`.
    fn revive(&self) {
        self.revivals.fetch_add(1, SeqCst);
        let _guard = self.page.lifecycle_lock();
        if self.held().is_some_and(|held| held.process != self.page.process()) {
            self.install(true);
        }
    }

    /// Under the lifecycle lock.
    fn install(&self, revived: bool) {
        let process = self.page.process();
        let session = self.next_id.fetch_add(1, SeqCst);
        let intake = Arc::new(Intake { session, process });
        self.built.lock().unwrap().push(Arc::downgrade(&intake));
        self.current.publish(&self.page, intake);
        self.hold(Some(Held { process, revived }));
    }

    fn held(&self) -> Option<Held> {
        // SAFETY: under the lifecycle lock.
        unsafe { *self.held.get() }
    }

    fn hold(&self, held: Option<Held>) {
        // SAFETY: under the lifecycle lock.
        unsafe { *self.held.get() = held };
    }

    /// How many threads found the word wiped.
    pub fn revivals(&self) -> usize {
        self.revivals.load(SeqCst)
    }

    /// How many sessions were ever built, and how many intakes of them are still there.
    pub fn built(&self) -> (usize, usize) {
        let built = self.built.lock().unwrap();
        (built.len(), built.iter().filter(|intake| intake.strong_count() > 0).count())
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl Intake {
    pub fn id(&self) -> u64 {
        self.session
    }
}
