//! What one drain copied out of all lanes: plain, single-threaded data from here on. The exporter owns one `Batch`
//! and reuses it, so a drain allocates only while the batch grows to its working size.

use std::collections::BTreeMap;
use std::mem;

use crate::clock::Timeline;
use crate::intern::Interner;
use crate::record::{Header, SLOT_BYTES, flag, kind};

/// Oversized payloads that may wait for their records. Each record follows its payload at once, so more than a few
/// belong to records that were lost with a panic of the exporter.
const MOST_UNCLAIMED: usize = 256;

/// Records of one drain, in each lane's order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the records begin that are copied and not found yet.
    found: usize,
    spans: Vec<usize>,
    begins: Vec<usize>,
    logs: Vec<usize>,
    measurements: Vec<usize>,
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
    pub header: Header,
    /// The items.
    pub payload: &'a [u8],
}

impl Batch {
    /// Empties the batch, keeping its memory, and keeping the oversized payloads whose records are still to come.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.found = 0;
        self.spans.clear();
        self.begins.clear();
        self.logs.clear();
        self.measurements.clear();
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

    /// No records.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies a run of whole records, as a lane hands them out: header, items, padding to [`SLOT_BYTES`]. They are there
    /// after [`Batch::find_all`].
    pub fn copy(&mut self, run: &[u8]) {
        self.bytes.extend_from_slice(run);
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
        self.found < self.bytes.len()
    }

    /// Finds one. Only while there are more.
    #[inline]
    pub fn find_next(&mut self) {
        let at = self.found;
        let header = self.header(at);
        let end = at + Header::slots_for(header.payload_bytes as usize) * SLOT_BYTES;
        assert!(end <= self.bytes.len(), "a record of {} bytes", header.payload_bytes);
        if header.flags & flag::OVERSIZE != 0 {
            self.claimed.extend(ticket(&self.bytes[at + SLOT_BYTES..]));
        }
        match header.kind {
            kind::SPAN => self.spans.push(at),
            kind::SPAN_BEGIN => self.begins.push(at),
            kind::LOG => self.logs.push(at),
            kind::MEASUREMENT => self.measurements.push(at),
            other => panic!("a record of kind {other}"),
        }
        self.found = end;
    }

    /// Leaves out the record that [`Batch::find_next`] panicked at, and returns its kind, which may be none that there is.
    /// Behind one with no end nothing can be found.
    pub fn skip(&mut self) -> Option<u8> {
        let rest = &self.bytes[self.found..];
        let header: Option<Header> = rest.get(..SLOT_BYTES).map(bytemuck::pod_read_unaligned);
        let slots = header.map_or(usize::MAX, |header| Header::slots_for(header.payload_bytes as usize));
        self.found += rest.len().min(slots.saturating_mul(SLOT_BYTES));
        header.map(|header| header.kind)
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
        self.spans.iter().map(|at| self.record(*at))
    }

    /// The finished span at `index`, below [`Batch::span_count`].
    #[inline]
    pub fn span(&self, index: usize) -> RecordRef<'_> {
        self.record(self.spans[index])
    }

    /// Bytes of all records, padding and oversized payloads included: about what they take encoded.
    pub fn byte_len(&self) -> usize {
        self.bytes.len() + self.oversize.values().map(|payload| payload.len()).sum::<usize>()
    }

    /// How many finished spans.
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Begun spans, for the console.
    pub fn span_begins(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.begins.iter().map(|at| self.record(*at))
    }

    /// Log records.
    pub fn logs(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.logs.iter().map(|at| self.record(*at))
    }

    /// The log record at `index`, below [`Batch::log_count`].
    #[inline]
    pub fn log(&self, index: usize) -> RecordRef<'_> {
        self.record(self.logs[index])
    }

    /// How many log records.
    pub fn log_count(&self) -> usize {
        self.logs.len()
    }

    /// Measurements.
    pub fn measurements(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.measurements.iter().map(|at| self.record(*at))
    }

    /// Gives finished spans and log records other items: `rewrite` is handed a record's and appends what takes their
    /// place, or answers false. The order of the records stays. The old bytes are not read again.
    pub fn rewrite_items(&mut self, mut rewrite: impl FnMut(&[u8], &mut Vec<u8>) -> bool) {
        let mut items = Vec::new();
        for index in 0..self.spans.len() {
            self.spans[index] = self.rewritten(self.spans[index], &mut rewrite, &mut items);
        }
        for index in 0..self.logs.len() {
            self.logs[index] = self.rewritten(self.logs[index], &mut rewrite, &mut items);
        }
    }

    /// Forgets spans and log records, whose items [`Batch::rewrite_items`] did not get done with.
    pub fn forget_rewritten(&mut self) {
        self.spans.clear();
        self.begins.clear();
        self.logs.clear();
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
            let at = self.append(header, items);
            self.found = self.bytes.len();
            return at;
        }
        let ticket = ticket(&self.bytes[at + SLOT_BYTES..]);
        if let Some(payload) = ticket.and_then(|ticket| self.oversize.get_mut(&ticket)) {
            *payload = items.as_slice().into();
        }
        at
    }

    /// Where the record stands now.
    fn append(&mut self, header: Header, payload: &[u8]) -> usize {
        let at = self.bytes.len();
        let header = Header { payload_bytes: payload.len() as u32, ..header };
        self.bytes.extend_from_slice(bytemuck::bytes_of(&header));
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(at + Header::slots_for(payload.len()) * SLOT_BYTES, 0);
        at
    }

    /// How many measurements.
    pub fn measurement_count(&self) -> usize {
        self.measurements.len()
    }

    #[inline]
    fn header(&self, at: usize) -> Header {
        bytemuck::pod_read_unaligned(&self.bytes[at..at + SLOT_BYTES])
    }

    #[inline]
    fn record(&self, at: usize) -> RecordRef<'_> {
        let header = self.header(at);
        let from = at + SLOT_BYTES;
        let payload = &self.bytes[from..from + header.payload_bytes as usize];
        let oversize = header.flags & flag::OVERSIZE != 0;
        RecordRef { header, payload: if oversize { self.handed_over(payload) } else { payload } }
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
