//! Sums that recording calls keep themselves, one for each counter and each bound attribute set of one: an addition costs
//! a few instructions where a record costs a line of a lane, and the exporter's part is paid at a collection only.
//! Adding never blocks or allocates; a tally is asked for, and read by the exporter, under a lock. Orderings are relaxed
//! but where sum and count are to be seen of the same additions: what an addition happens before is for others to say (the
//! lock that a flush goes through); until then a reader sees it or does not.
//!
//! Integers only, and exactly: a tally never wraps, and what it cannot take its caller records otherwise. Totals only
//! ever move by what was added; who takes differences remembers what it took before. So nothing is lost, nothing
//! counted twice, however additions and readings fall together; what comes after [`Tallies::close`] is refused, or where
//! something keeps additions apart, and from closing too, not counted at all.
//! Doubles go as records: a running total of them would swallow what is small beside all that came before, where the sum
//! of a window would not.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use crate::sync::{self, AtomicU64, Ordering};
use crate::sys;

/// What was added since the session began.
#[derive(Debug)]
pub struct Tally {
    session: u64,
    /// Bits of an `i64`.
    sum: AtomicU64,
    /// How many additions.
    additions: AtomicU64,
    /// How many calls of [`Tally::add`] are under way, and [`CLOSED`].
    adding: AtomicU64,
}

const CLOSED: u64 = 1 << 63;
/// Of a collection at a tally that is being added to; without sleeping between them.
const LOOKS: u32 = 50;

impl Tally {
    /// Nothing yet.
    pub fn new(session: u64) -> Self {
        let [sum, additions, adding] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { session, sum, additions, adding }
    }

    /// The session it belongs to; never 0.
    #[inline]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Adds, where something (Python's global lock) keeps all additions apart. False, adding nothing, when the sum would
    /// leave 64 bits.
    #[inline(always)]
    pub fn add_alone(&self, value: i64) -> bool {
        let Some(sum) = (self.sum.load(Ordering::Relaxed) as i64).checked_add(value) else { return false };
        self.sum.store(sum as u64, Ordering::Relaxed);
        let additions = self.additions.load(Ordering::Relaxed);
        self.additions.store(additions.wrapping_add(1), Ordering::Relaxed);
        true
    }

    /// Adds, whoever else adds meanwhile. False as for [`Tally::add_alone`], and once it is closed.
    #[inline]
    pub fn add(&self, value: i64) -> bool {
        let added = |sum: u64| (sum as i64).checked_add(value).map(|sum| sum as u64);
        // Relaxed: one word says whether it came before `close`.
        let is_open = self.adding.fetch_add(1, Ordering::Relaxed) & CLOSED == 0;
        // Release, here and below: pairs with the looks of `read_whole`, and the last one with that of `close`.
        let is_added = is_open && self.sum.fetch_update(Ordering::Release, Ordering::Relaxed, added).is_ok();
        if is_added {
            self.additions.fetch_add(1, Ordering::Release);
        }
        self.adding.fetch_sub(1, Ordering::Release);
        is_added
    }

    /// Refuses further calls of [`Tally::add`], and waits for those under way: some instructions each.
    pub fn close(&self) {
        // Acquire, here and below: what was added is seen.
        let mut under_way = self.adding.fetch_or(CLOSED, Ordering::Acquire) & !CLOSED;
        for looks in 0.. {
            if under_way == 0 {
                return;
            }
            sync::pause(looks);
            under_way = self.adding.load(Ordering::Acquire) & !CLOSED;
        }
    }

    /// Sum and additions, of the same ones; `None`: [`Tally::add`] is being called meanwhile.
    pub fn read_whole(&self) -> Option<(i64, u64)> {
        // Acquire: what is in the one of a call shows that call in those looked at later.
        let additions = self.additions.load(Ordering::Acquire);
        let sum = self.sum.load(Ordering::Acquire) as i64;
        let is_quiet = self.adding.load(Ordering::Acquire) & !CLOSED == 0;
        (is_quiet && self.additions.load(Ordering::Relaxed) == additions).then_some((sum, additions))
    }

    /// The same, or where additions do not cease for a while [`Tally::read`]: a later reading makes up for it. When its session
    /// is over there is none, but additions cease.
    fn read_for_collection(&self) -> (i64, u64) {
        let may_wait = sys::fork::session() != self.session;
        for looks in 0.. {
            if let Some(whole) = self.read_whole() {
                return whole;
            }
            if looks == LOOKS && !may_wait {
                break;
            }
            sync::pause(looks);
        }
        self.read()
    }

    /// Sum and additions. Of an addition under way it may show the one without the other.
    pub fn read(&self) -> (i64, u64) {
        let additions = self.additions.load(Ordering::Relaxed);
        (self.sum.load(Ordering::Relaxed) as i64, additions)
    }
}

/// What a tally was added to since it was taken last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Instrument id.
    pub instrument: u32,
    /// Binding id, 0 for none.
    pub binding: u32,
    /// Of what was added. Two totals of 64 bits may lie further apart than 64 bits hold.
    pub sum: i128,
    /// How many additions.
    pub additions: u64,
}

/// All tallies of a session: as many as it has counters and bindings of such at most. They end with it.
#[derive(Debug, Default)]
pub struct Tallies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// By instrument and binding.
    index: HashMap<(u32, u32), usize, RandomState>,
    /// Nothing is taken any more.
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    instrument: u32,
    binding: u32,
    tally: Arc<Tally>,
    /// What it showed when it was taken last.
    seen: (i64, u64),
}

impl Tallies {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of an instrument (0 as `binding`), or of a binding of it.
    pub fn get(&self, session: u64, instrument: u32, binding: u32) -> Arc<Tally> {
        let State { entries, index, .. } = &mut *self.state();
        let at = *index.entry((instrument, binding)).or_insert_with(|| {
            let tally = Arc::new(Tally::new(session));
            entries.push(Entry { instrument, binding, tally, seen: (0, 0) });
            entries.len() - 1
        });
        entries[at].tally.clone()
    }

    /// Appends what was added since the last call.
    pub fn take(&self, taken: &mut Vec<Taken>) {
        self.state().take(taken);
    }

    /// [`Tallies::take`] for the last time: what is added from now on is neither taken nor counted. Again: does nothing.
    pub fn close(&self, taken: &mut Vec<Taken>) {
        let mut state = self.state();
        state.entries.iter().for_each(|entry| entry.tally.close());
        state.take(taken);
        state.closed = true;
    }

    /// Additions up to now, those that were not taken yet too, until the end.
    pub fn additions(&self) -> u64 {
        let state = self.state();
        let counted = |entry: &Entry| if state.closed { entry.seen.1 } else { entry.tally.read().1 };
        state.entries.iter().map(counted).sum()
    }
}

impl State {
    fn take(&mut self, taken: &mut Vec<Taken>) {
        if self.closed {
            return;
        }
        for Entry { instrument, binding, tally, seen } in &mut self.entries {
            let now = tally.read_for_collection();
            let before = mem::replace(seen, now);
            if now != before {
                taken.push(Taken {
                    instrument: *instrument,
                    binding: *binding,
                    sum: i128::from(now.0) - i128::from(before.0),
                    additions: now.1.wrapping_sub(before.1),
                });
            }
        }
    }
}
