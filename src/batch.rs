//! What one drain copied out of all lanes: plain, single-threaded data from here on. The exporter owns one `Batch`
//! and reuses it, so a drain allocates only while the batch grows to its working size.

use std::collections::BTreeMap;
use std::mem;

use bytemuck::{Pod, Zeroable};

use crate::attrs;
use crate::clock::Timeline;
use crate::intern::Interner;
use crate::record::shared::{CountedSpan, Measured};
use crate::record::{Header, Number, SLOT_BYTES, StrId, flag, kind};

/// Oversized payloads that may wait for their records. Each record follows its payload at once, so more than a few
/// belong to records that were lost with a panic of the exporter.
const MOST_UNCLAIMED: usize = 256;

const SPANS: usize = kind::SPAN as usize;
const BEGINS: usize = kind::SPAN_BEGIN as usize;
const LOGS: usize = kind::LOG as usize;
const MEASUREMENTS: usize = kind::MEASUREMENT as usize;

/// Where a header may stand: it is read in place then.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Slot([u8; SLOT_BYTES]);

/// Records of one drain, in each lane's order; those that shared a record are behind all others.
#[derive(Debug, Default)]
pub struct Batch {
    slots: Vec<Slot>,
    /// Where the records begin that are copied and not found yet.
    found: usize,
    /// Slots of the headers, by [`kind`]; none of kind 0.
    headers: [Vec<usize>; MEASUREMENTS + 1],
    /// By ticket, and so by age.
    oversize: BTreeMap<u64, Box<[u8]>>,
    /// Tickets that records of this batch hold.
    claimed: Vec<u64>,
}

/// What the ids and ticks in records mean.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// Names, keys, scopes.
    pub strings: &'a Interner,
    /// Ticks to Unix time.
    pub timeline: &'a Timeline,
}

/// A record with its items.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The fixed part.
    pub header: &'a Header,
    /// The items.
    pub payload: &'a [u8],
}

impl Batch {
    /// Empties the batch, keeping its memory, and keeping the oversized payloads whose records are still to come.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.found = 0;
        self.headers.iter_mut().for_each(Vec::clear);
        for ticket in self.claimed.drain(..) {
            self.oversize.remove(&ticket);
        }
        while self.oversize.len() > MOST_UNCLAIMED {
            self.oversize.pop_first();
        }
    }

    /// Frees the memory of an empty batch.
    pub fn shrink(&mut self) {
        debug_assert!(self.is_empty());
        *self = Self { oversize: mem::take(&mut self.oversize), ..Self::default() };
    }

    /// Bytes that are kept when it is emptied, about.
    pub fn capacity_bytes(&self) -> usize {
        let indices: usize = self.headers.iter().map(Vec::capacity).sum();
        self.slots.capacity() * SLOT_BYTES + indices * size_of::<usize>()
    }

    /// No records.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Copies a run of whole records, as a lane hands them out: header, items, padding to [`SLOT_BYTES`]. They are there
    /// after [`Batch::find_all`].
    pub fn copy(&mut self, run: &[u8]) {
        match bytemuck::try_cast_slice(run) {
            Ok(slots) => self.slots.extend_from_slice(slots),
            // Not from a lane.
            Err(_) => {
                self.slots.extend(run.chunks_exact(SLOT_BYTES).map(bytemuck::pod_read_unaligned::<Slot>))
            }
        }
    }

    /// [`Batch::copy`] and [`Batch::find_all`].
    pub fn extend(&mut self, run: &[u8]) {
        self.copy(run);
        self.find_all();
    }

    /// Finds the records that were copied.
    ///
    /// # Panics
    /// At a record of no known kind or with no end. It goes on behind it after [`Batch::skip`].
    pub fn find_all(&mut self) {
        while self.has_more() {
            self.find_next();
        }
    }

    /// There are records still to be found.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.found < self.slots.len()
    }

    /// Finds one. Only while there are more.
    #[inline]
    pub fn find_next(&mut self) {
        let at = self.found;
        let &Header { kind, payload_bytes, flags, .. } = bytemuck::must_cast_ref(&self.slots[at]);
        let end = at + Header::slots_for(payload_bytes as usize);
        assert!(end <= self.slots.len(), "a record of {payload_bytes} bytes");
        match usize::from(kind) {
            kind @ SPANS..=MEASUREMENTS => self.headers[kind].push(at),
            _ => return self.part(at, end),
        }
        if flags & flag::OVERSIZE != 0 {
            self.claimed.extend(ticket(self.in_place(at).payload));
        }
        self.found = end;
    }

    /// Leaves out the record that [`Batch::find_next`] panicked at, and returns its header, whose kind may be none that there
    /// is. Behind one with no end nothing can be found: the rest of the batch goes with it, uncounted.
    pub fn skip(&mut self) -> Option<Header> {
        let rest = &self.slots[self.found..];
        let header: Header = bytemuck::must_cast(*rest.first()?);
        self.found += rest.len().min(Header::slots_for(header.payload_bytes as usize));
        Some(header)
    }

    /// Makes what shares a record records of their own, behind all that there are: they are found there.
    #[inline(never)]
    fn part(&mut self, at: usize, end: usize) {
        match self.in_place(at).header.kind {
            kind::COUNTED_SPANS => self.part_spans(at),
            kind::MEASUREMENTS => self.part_measurements(at),
            other => panic!("a record of kind {other}"),
        }
        self.found = end;
    }

    fn part_spans(&mut self, at: usize) {
        let shared = *self.in_place(at).header;
        let key = CountedSpan::key(&shared);
        for index in 0..shared.count() {
            let span: CountedSpan = self.row(at, index);
            let header = span.header(&shared, index);
            if key == StrId::NONE {
                self.append(header, &[]);
            } else {
                self.append(header, &attrs::number_item(key, Number::Int(span.number)));
            }
        }
    }

    fn part_measurements(&mut self, at: usize) {
        let shared = *self.in_place(at).header;
        for index in 0..shared.count() {
            let measured: Measured = self.row(at, index);
            self.append(measured.header(&shared, index), &[]);
        }
    }

    fn row<T: Pod>(&self, at: usize, index: usize) -> T {
        bytemuck::pod_read_unaligned(&self.in_place(at).payload[index * size_of::<T>()..][..size_of::<T>()])
    }

    /// Adds one record; for tests, benchmarks and oversize hand-over.
    pub fn push(&mut self, header: Header, payload: &[u8]) {
        self.append(header, payload);
        self.find_all();
    }

    /// Adds the payload that a record with [`flag::OVERSIZE`] refers to.
    pub fn add_oversize(&mut self, ticket: u64, payload: Box<[u8]>) {
        self.oversize.insert(ticket, payload);
    }

    /// Takes the payloads that records of this batch refer to.
    pub fn claim(&mut self, payloads: &mut BTreeMap<u64, Box<[u8]>>) {
        for ticket in &self.claimed {
            self.oversize.extend(payloads.remove_entry(ticket));
        }
    }

    /// Finished spans.
    pub fn spans(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.of(SPANS)
    }

    /// The finished span at `index`, below [`Batch::span_count`].
    #[inline]
    pub fn span(&self, index: usize) -> RecordRef<'_> {
        self.record(self.headers[SPANS][index])
    }

    /// Bytes of all records, padding and oversized payloads included: about what they take encoded.
    pub fn byte_len(&self) -> usize {
        self.slots.len() * SLOT_BYTES + self.oversize.values().map(|payload| payload.len()).sum::<usize>()
    }

    /// How many finished spans.
    pub fn span_count(&self) -> usize {
        self.headers[SPANS].len()
    }

    /// Begun spans, for the console.
    pub fn span_begins(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.of(BEGINS)
    }

    /// Log records.
    pub fn logs(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.of(LOGS)
    }

    /// How many log records.
    pub fn log_count(&self) -> usize {
        self.headers[LOGS].len()
    }

    /// Measurements.
    pub fn measurements(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.of(MEASUREMENTS)
    }

    /// Gives finished spans and log records other items: `rewrite` is handed a record's and appends what takes their
    /// place, or answers false. The order of the records stays. The old bytes are not read again.
    pub fn rewrite_items(&mut self, mut rewrite: impl FnMut(&[u8], &mut Vec<u8>) -> bool) {
        let mut items = Vec::new();
        for kind in [SPANS, LOGS] {
            for index in 0..self.headers[kind].len() {
                let at = self.headers[kind][index];
                self.headers[kind][index] = self.rewritten(at, &mut rewrite, &mut items);
            }
        }
    }

    /// Forgets spans and log records, whose items [`Batch::rewrite_items`] did not get done with.
    pub fn forget_rewritten(&mut self) {
        [SPANS, BEGINS, LOGS].into_iter().for_each(|kind| self.headers[kind].clear());
    }

    /// Where the record stands afterwards.
    fn rewritten(
        &mut self,
        at: usize,
        rewrite: &mut impl FnMut(&[u8], &mut Vec<u8>) -> bool,
        items: &mut Vec<u8>,
    ) -> usize {
        items.clear();
        let RecordRef { header, payload } = self.record(at);
        if !rewrite(payload, items) {
            return at;
        }
        if header.flags & flag::OVERSIZE == 0 {
            let header = *header;
            let at = self.append(header, items);
            self.found = self.slots.len();
            return at;
        }
        let ticket = ticket(self.in_place(at).payload);
        if let Some(payload) = ticket.and_then(|ticket| self.oversize.get_mut(&ticket)) {
            *payload = items.as_slice().into();
        }
        at
    }

    /// Where the record stands now.
    fn append(&mut self, header: Header, payload: &[u8]) -> usize {
        let at = self.slots.len();
        let header = Header { payload_bytes: payload.len() as u32, ..header };
        self.slots.push(bytemuck::must_cast(header));
        self.slots.resize(at + Header::slots_for(payload.len()), Slot([0; SLOT_BYTES]));
        bytemuck::must_cast_slice_mut(&mut self.slots[at + 1..])[..payload.len()].copy_from_slice(payload);
        at
    }

    /// How many measurements.
    pub fn measurement_count(&self) -> usize {
        self.headers[MEASUREMENTS].len()
    }

    #[inline]
    fn record(&self, at: usize) -> RecordRef<'_> {
        let RecordRef { header, payload } = self.in_place(at);
        let oversize = header.flags & flag::OVERSIZE != 0;
        RecordRef { header, payload: if oversize { self.handed_over(payload) } else { payload } }
    }

    /// As it stands: of an oversized record with the ticket for a payload.
    #[inline]
    fn in_place(&self, at: usize) -> RecordRef<'_> {
        let header: &Header = bytemuck::must_cast_ref(&self.slots[at]);
        let items: &[u8] = bytemuck::must_cast_slice(&self.slots[at + 1..]);
        RecordRef { header, payload: &items[..header.payload_bytes as usize] }
    }

    fn of(&self, kind: usize) -> impl Iterator<Item = RecordRef<'_>> {
        self.headers[kind].iter().map(|at| self.record(*at))
    }

    /// The payload behind the ticket; empty when the hand-over never arrived.
    #[cold]
    fn handed_over(&self, payload: &[u8]) -> &[u8] {
        ticket(payload).and_then(|ticket| self.oversize.get(&ticket)).map_or(&[][..], |bytes| bytes)
    }
}

fn ticket(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}
