//! From records to series: which instrument, which streams, which series. The way of an attribute set that was seen
//! before is one look-up, by binding or by the bytes as recorded; without attributes it is an index.

use std::sync::Arc;

use super::Metric;
use super::attributes::AttributeSet;
use super::entry::{Entry, Place, take};
use super::observed::Observed;
use super::routes::{Recorded, Routes};
use super::series::{OVERFLOW, Series, StreamSeries, Window};
use crate::accumulate::{Cell, FoldedEntry, Sum, overflow_attributes};
use crate::batch::{Lookup, RecordRef};
use crate::config::Temporality;
use crate::instruments::Instruments;
use crate::record::{Header, Number};
use crate::tally::Taken;

/// Bytes that cached routes take, of all instruments; beyond, those of one instrument after the other are forgotten
/// (all at once would take too long). Programs whose attribute sets return need far less; others gain nothing by it.
const CACHE_BYTES: usize = 16 << 20;

/// See the module documentation of [`crate::aggregate`].
#[derive(Debug)]
pub struct Table {
    instruments: Arc<Instruments>,
    temporality: Temporality,
    first_unix_nano: u64,
    /// When the current window began.
    start_unix_nano: u64,
    /// By instrument id.
    entries: Vec<Option<Box<Entry>>>,
    cached_bytes: usize,
    /// Whose routes were forgotten last.
    forget_next: usize,
    overflowed: u64,
    /// Begun and not yet at its end.
    collection: Option<Collection>,
    /// Series of the attribute set in hand. Only filled while a measurement is taken.
    route: Vec<u32>,
    /// The attribute set in hand in canonical form.
    canonical: Vec<u8>,
}

#[derive(Debug)]
struct Collection {
    /// Ids of instruments whose turn is still to come, the next one last.
    order: Vec<u32>,
    end_unix_nano: u64,
}

impl Table {
    /// `start_unix_nano`: when the first window begins.
    pub fn new(instruments: Arc<Instruments>, temporality: Temporality, start_unix_nano: u64) -> Self {
        Self {
            instruments,
            temporality,
            first_unix_nano: start_unix_nano,
            start_unix_nano,
            entries: Vec::new(),
            cached_bytes: 0,
            forget_next: 0,
            overflowed: 0,
            collection: None,
            route: Vec::new(),
            canonical: Vec::new(),
        }
    }

    /// Takes a measurement record.
    #[inline]
    pub fn record(&mut self, record: RecordRef<'_>, lookup: Lookup<'_>) {
        let header = record.header;
        let recorded = Recorded { binding: header.binding(), items: record.payload };
        // In registers all the way, which a closure would go around.
        if let Some(Some(entry)) = self.entries.get_mut(header.name.0 as usize)
            && entry.observed.is_none()
            && let Some(at) = entry.routes.find(recorded)
        {
            return entry.record(at, header, recorded, &self.instruments, lookup);
        }
        self.record_unknown(header, recorded, lookup);
    }

    /// Takes a measurement of an instrument or a set that was not met before, or of an observable instrument.
    #[cold]
    #[inline(never)]
    fn record_unknown(&mut self, header: &Header, recorded: Recorded<'_>, lookup: Lookup<'_>) {
        let (id, value) = (header.name.0, header.number());
        match self.entry(id, lookup) {
            None => {}
            Some(Entry { observed: Some(_), .. }) => self.observe(id, recorded, value, lookup),
            Some(_) => self.with_series(id, recorded, 1, lookup, |series, place| {
                take(series, place, header, recorded, lookup);
            }),
        }
        self.note(id, 1);
    }

    /// Takes one attribute set of what was folded while lanes were full. It leaves no examples.
    pub fn fold_entry(&mut self, entry: &FoldedEntry, lookup: Lookup<'_>) {
        let recorded = Recorded { binding: entry.binding, items: &entry.attributes };
        match self.entry(entry.instrument, lookup) {
            None => {}
            Some(Entry { observed: Some(observed), .. }) => match entry.cells.first() {
                Some(Cell::Sum(sum)) => observed.add_overflow(sum, entry.count),
                Some(Cell::LastValue(last)) => {
                    if let Some(total) = last.value {
                        self.observe(entry.instrument, recorded, total, lookup);
                    }
                }
                _ => debug_assert!(false, "a fold of totals has no other cells"),
            },
            Some(_) => self.with_series(entry.instrument, recorded, entry.count, lookup, |series, place| {
                if let Some(cell) = entry.cells.get(place.position) {
                    series.cell.merge(cell);
                }
            }),
        }
        self.note(entry.instrument, entry.count);
    }

    /// Takes what a tally was added to.
    pub fn add(&mut self, taken: &Taken, lookup: Lookup<'_>) {
        let recorded = Recorded { binding: taken.binding, items: &[] };
        if self.entry(taken.instrument, lookup).is_some() {
            let sum = Cell::Sum(Sum::Int(taken.sum));
            self.with_series(taken.instrument, recorded, taken.additions, lookup, |series, _| {
                series.cell.merge(&sum);
            });
        }
        self.note(taken.instrument, taken.additions);
    }

    /// Measurements that no collection has handed out.
    pub fn uncollected(&self) -> u64 {
        self.entries.iter().flatten().map(|entry| entry.uncollected).sum()
    }

    /// Last of all that is done with measurements: those that a panic costs are counted elsewhere.
    #[inline]
    fn note(&mut self, id: u32, measurements: u64) {
        if let Some(Some(entry)) = self.entries.get_mut(id as usize) {
            entry.uncollected += measurements;
        }
    }

    /// Hands out every stream's points, streams of one scope after each other, and begins the next window. The window
    /// ends now, or where it began if the clock was set back. Totals and sync gauges keep being exported (in a delta
    /// table only gauges that were recorded in the window), what is observable only if it was observed in the window.
    pub fn collect(&mut self, now_unix_nano: u64, lookup: Lookup<'_>, each: &mut dyn FnMut(&Metric<'_>)) {
        self.begin_collection(now_unix_nano);
        while self.collect_next(lookup, each) {}
    }

    /// The first step of [`Table::collect`], for who has other things to do in between. What is recorded until an
    /// instrument's turn comes is in this window still.
    pub fn begin_collection(&mut self, now_unix_nano: u64) {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        order.retain(|id| self.entries[*id as usize].is_some());
        order.sort_by_key(|id| self.entries[*id as usize].as_ref().map(|entry| entry.scope));
        order.reverse();
        self.collection = Some(Collection { order, end_unix_nano: now_unix_nano.max(self.start_unix_nano) });
    }

    /// Hands out the points of the next instrument of the collection that was begun. False: there is none left, and the
    /// next window begins.
    pub fn collect_next(&mut self, lookup: Lookup<'_>, each: &mut dyn FnMut(&Metric<'_>)) -> bool {
        let Some(Collection { order, end_unix_nano }) = &mut self.collection else { return false };
        let end_unix_nano = *end_unix_nano;
        let Some(id) = order.pop() else {
            self.start_unix_nano = end_unix_nano;
            self.collection = None;
            return false;
        };
        self.take_observations(id, lookup);
        let window = Window {
            first_unix_nano: self.first_unix_nano,
            start_unix_nano: self.start_unix_nano,
            end_unix_nano,
            timeline: lookup.timeline,
        };
        if let Some(Some(entry)) = self.entries.get_mut(id as usize) {
            let Entry { instrument, scope, streams, routes, uncollected, .. } = &mut **entry;
            *uncollected = 0;
            // First: should `each` panic, no route leads to series that are gone.
            if streams.iter().any(|series| series.anew) {
                self.cached_bytes -= routes.forget();
            }
            for (series, stream) in streams.iter_mut().zip(&instrument.streams) {
                series.collect(stream, instrument, *scope, window, each);
            }
        }
        true
    }

    /// Begins no window: what was not handed out yet is part of the next collection.
    pub fn abandon_collection(&mut self) {
        self.collection = None;
    }

    /// Between [`Table::begin_collection`] and the last [`Table::collect_next`].
    pub fn is_collecting(&self) -> bool {
        self.collection.is_some()
    }

    /// Measurements that went to an overflow series.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Attribute sets that series, observations and caches hold: what the table's memory is in proportion to.
    pub fn attribute_sets(&self) -> usize {
        let of = |entry: &Entry| {
            entry.streams.iter().map(StreamSeries::held_sets).sum::<usize>()
                + entry.routes.len()
                + entry.observed.as_ref().map_or(0, |observed| observed.sets.len())
        };
        self.entries.iter().flatten().map(|entry| of(entry)).sum()
    }

    /// The part of an instrument. `None`: nobody knows the id, or views drop the instrument.
    #[inline]
    fn entry(&mut self, id: u32, lookup: Lookup<'_>) -> Option<&mut Entry> {
        if !matches!(self.entries.get(id as usize), Some(Some(_))) {
            self.meet(id, lookup)?;
        }
        self.entries.get_mut(id as usize)?.as_deref_mut()
    }

    #[cold]
    fn meet(&mut self, id: u32, lookup: Lookup<'_>) -> Option<()> {
        let instrument = self.instruments.get(id).filter(|instrument| !instrument.streams.is_empty())?;
        let kind = instrument.definition.kind;
        let new = |stream| StreamSeries::new(stream, kind, self.temporality);
        let entry = Entry {
            scope: lookup.strings.scope_index(&instrument.definition.scope),
            streams: instrument.streams.iter().map(new).collect(),
            routes: Routes::default(),
            observed: kind.is_observable().then(Observed::default),
            uncollected: 0,
            instrument,
        };
        let at = id as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        self.entries[at] = Some(Box::new(entry));
        Some(())
    }

    /// Runs `take` for the series of an attribute set in each stream.
    #[inline]
    fn with_series(
        &mut self,
        id: u32,
        recorded: Recorded<'_>,
        measurements: u64,
        lookup: Lookup<'_>,
        mut take: impl FnMut(&mut Series, Place<'_>),
    ) {
        let Some(Some(entry)) = self.entries.get_mut(id as usize) else { return };
        let instruments = &*self.instruments;
        let known = entry.routes.find(recorded);
        if known.is_none() {
            let bytes = entry.resolve(recorded, instruments, lookup, &mut self.route, &mut self.canonical);
            self.cached_bytes += bytes;
        }
        let Entry { instrument, streams, routes, .. } = &mut **entry;
        let route = match known {
            Some(at) => &routes.series[at..at + streams.len()],
            None => &self.route,
        };
        let mut overflow = false;
        for (position, index) in route.iter().copied().enumerate() {
            let (Some(series), Some(stream)) = (streams.get_mut(position), instrument.streams.get(position))
            else {
                break;
            };
            overflow |= index == OVERFLOW;
            take(series.get(stream, index), Place { position, index, stream, instrument, instruments });
        }
        if overflow {
            self.overflowed += measurements;
        }
        if self.cached_bytes > CACHE_BYTES {
            self.forget_routes();
        }
    }

    #[cold]
    fn forget_routes(&mut self) {
        for _ in 0..self.entries.len() {
            if self.cached_bytes <= CACHE_BYTES {
                break;
            }
            self.forget_next = (self.forget_next + 1) % self.entries.len();
            if let Some(entry) = &mut self.entries[self.forget_next] {
                self.cached_bytes -= entry.routes.forget();
            }
        }
    }

    /// Takes a total. With more sets than are told apart it goes to its series at once.
    #[cold]
    fn observe(&mut self, id: u32, recorded: Recorded<'_>, total: Number, lookup: Lookup<'_>) {
        let Some(Some(Entry { observed: Some(observed), .. })) =
            self.entries.get_mut(id as usize).map(Option::as_deref_mut)
        else {
            return;
        };
        let bound = recorded.bound(&self.instruments);
        let items = bound.as_deref().unwrap_or(recorded.items);
        self.canonical.clear();
        AttributeSet::read(items, lookup.strings).put_kept(None, &mut self.canonical);
        if !observed.set(&self.canonical, total) {
            self.with_series(id, recorded, 1, lookup, |series, _| series.cell.record(total, 0));
        }
    }

    /// Puts what was observed of an instrument into series.
    fn take_observations(&mut self, id: u32, lookup: Lookup<'_>) {
        let entry = self.entries.get_mut(id as usize).and_then(Option::as_deref_mut);
        let Some(observed) = entry.and_then(|entry| entry.observed.as_mut()).map(Observed::take) else {
            return;
        };
        for (attributes, total) in &observed.sets {
            let recorded = Recorded { binding: 0, items: attributes };
            self.with_series(id, recorded, 1, lookup, |series, _| series.cell.record(*total, 0));
        }
        if let Some((sum, count)) = observed.overflow {
            let attributes = overflow_attributes();
            let recorded = Recorded { binding: 0, items: &attributes };
            self.with_series(id, recorded, count, lookup, |series, _| {
                series.cell.record(sum.value(), 0);
            });
        }
    }
}
