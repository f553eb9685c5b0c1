//! What one drain copied out of all lanes: plain, single-threaded data from here on. The exporter owns one `Batch`
//! and reuses it, so a drain allocates only while the batch grows to its working size.

use std::collections::HashMap;

use crate::record::{Header, SLOT_BYTES, flag, kind};

/// Records of one drain, in each lane's order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    spans: Vec<usize>,
    begins: Vec<usize>,
    logs: Vec<usize>,
    measurements: Vec<usize>,
    /// Payloads by ticket; one can be handed out a drain earlier than the record that refers to it.
    oversize: HashMap<u64, Box<[u8]>>,
    /// Tickets that records of this batch refer to.
    tickets: Vec<u64>,
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
    /// Empties the batch, keeping its memory, and the oversized payloads whose records are still to come.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.begins.clear();
        self.logs.clear();
        self.measurements.clear();
        for ticket in self.tickets.drain(..) {
            self.oversize.remove(&ticket);
        }
    }

    /// Gives unused memory back.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        for offsets in [&mut self.spans, &mut self.begins, &mut self.logs, &mut self.measurements] {
            offsets.shrink_to_fit();
        }
        self.oversize.shrink_to_fit();
    }

    /// No records.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies a run of whole records, as a lane hands them out: header, items, padding to [`SLOT_BYTES`].
    pub fn extend(&mut self, run: &[u8]) {
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(run);
        while at < self.bytes.len() {
            let header = self.header(at);
            debug_assert!(
                at + SLOT_BYTES + header.payload_bytes as usize <= self.bytes.len(),
                "a whole record"
            );
            if header.flags & flag::OVERSIZE != 0 {
                self.tickets.extend(self.ticket(at));
            }
            match header.kind {
                kind::SPAN => self.spans.push(at),
                kind::SPAN_BEGIN => self.begins.push(at),
                kind::LOG => self.logs.push(at),
                kind::MEASUREMENT => self.measurements.push(at),
                other => debug_assert!(false, "record kind {other}"),
            }
            at += Header::slots_for(header.payload_bytes as usize) * SLOT_BYTES;
        }
    }

    /// Adds one record; for tests, benchmarks and oversize hand-over.
    pub fn push(&mut self, header: Header, payload: &[u8]) {
        let header = Header { payload_bytes: payload.len() as u32, ..header };
        let mut run = Vec::with_capacity(Header::slots_for(payload.len()) * SLOT_BYTES);
        run.extend_from_slice(bytemuck::bytes_of(&header));
        run.extend_from_slice(payload);
        run.resize(Header::slots_for(payload.len()) * SLOT_BYTES, 0);
        self.extend(&run);
    }

    /// Adds the payload that a record with [`flag::OVERSIZE`] refers to.
    pub fn add_oversize(&mut self, ticket: u64, payload: Box<[u8]>) {
        self.oversize.insert(ticket, payload);
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

    /// Measurements.
    pub fn measurements(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.measurements.iter().map(|at| self.record(*at))
    }

    #[inline]
    fn header(&self, at: usize) -> Header {
        bytemuck::pod_read_unaligned(&self.bytes[at..at + SLOT_BYTES])
    }

    /// Of a record with [`flag::OVERSIZE`].
    fn ticket(&self, at: usize) -> Option<u64> {
        let ticket = self.bytes.get(at + SLOT_BYTES..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*ticket))
    }

    #[inline]
    fn record(&self, at: usize) -> RecordRef<'_> {
        let header = self.header(at);
        let from = at + SLOT_BYTES;
        let payload = &self.bytes[from..from + header.payload_bytes as usize];
        let oversize = header.flags & flag::OVERSIZE != 0;
        RecordRef { header, payload: if oversize { self.handed_over(at) } else { payload } }
    }

    /// The payload behind the record's ticket; empty when the hand-over never arrived.
    #[cold]
    fn handed_over(&self, at: usize) -> &[u8] {
        self.ticket(at).and_then(|ticket| self.oversize.get(&ticket)).map_or(&[][..], |bytes| bytes)
    }
}
