//! A lane beside rtrb, the ring that wait-free single-producer queues are measured by: a 64-byte record in and out again,
//! on one thread and across two.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use pytracingx::ids::{SpanId, TraceId};
use pytracingx::lane::{Drainer, Lanes, Producer};
use pytracingx::record::{Header, StrId, kind};

use crate::measure::{Candidate, Options, Report, compare};

/// As much as waits between two drains under load, and half of what either ring holds.
const RECORDS: usize = 8 * 1024;
const OURS: &str = "ours: one thread";
const RIVAL: &str = "rtrb: one thread";

pub fn run(options: Options) -> Report {
    let records = if options.check { 64 } else { RECORDS };
    let (mut producer, mut drainer) = lane();
    let (mut rtrb_in, mut rtrb_out) = rtrb::RingBuffer::new(2 * RECORDS);
    let mut ours = {
        let (mut producer, mut drainer) = lane();
        Across::new(move |number| producer.push(&record(number), &[]).is_ok(), move || drain(&mut drainer))
    };
    let mut rival = {
        let (mut to, mut from) = rtrb::RingBuffer::new(2 * RECORDS);
        Across::new(move |number| to.push(record(number)).is_ok(), move || pop_all(&mut from))
    };
    let candidates = vec![
        Candidate::new(OURS, || {
            for number in 0..records as u64 {
                producer.push(&record(number), &[]).expect("room for a round");
            }
            assert_eq!(drain(&mut drainer), (records as u64, checksum(records)));
        }),
        Candidate::new(RIVAL, || {
            for number in 0..records as u64 {
                rtrb_in.push(record(number)).expect("room for a round");
            }
            assert_eq!(pop_all(&mut rtrb_out), (records as u64, checksum(records)));
        }),
        Candidate::new("ours: two threads", move || ours.round(records)),
        Candidate::new("rtrb: two threads", move || rival.round(records)),
    ];
    // Ours keeps blocks of any record size, in memory that grows and shrinks; it may cost a little for that.
    compare("record", records, options, candidates, (OURS, RIVAL, 0.8))
}

pub fn lane() -> (Producer, Drainer) {
    let lanes = Lanes::new(8 << 20, 64 << 20).expect("address space");
    (lanes.attach(), lanes.drainer().expect("the first drainer"))
}

#[inline]
pub fn record(number: u64) -> Header {
    Header {
        kind: kind::SPAN,
        detail: 1,
        mask: 1,
        payload_bytes: 0,
        name: StrId(1),
        scope: 0,
        flags: 1,
        trace_id: TraceId([1; 16]),
        span_id: SpanId([1; 8]),
        parent_span_id: SpanId::NONE,
        start: number,
        end: number + 1,
    }
}

fn checksum(records: usize) -> u64 {
    (0..records as u64).sum()
}

/// How many, and the sum of their numbers.
fn drain(drainer: &mut Drainer) -> (u64, u64) {
    let mut seen = (0, 0);
    let mut add = |run: &[u8]| {
        for slot in run.chunks_exact(size_of::<Header>()) {
            let header: Header = bytemuck::pod_read_unaligned(slot);
            seen = (seen.0 + 1, seen.1 + black_box(header).start);
        }
    };
    drainer.drain(&mut add, &mut |_, _| {});
    seen
}

fn pop_all(from: &mut rtrb::Consumer<Header>) -> (u64, u64) {
    let mut seen = (0, 0);
    while let Ok(header) = from.pop() {
        seen = (seen.0 + 1, seen.1 + black_box(header).start);
    }
    seen
}

/// One end in a thread of its own, the other in the caller's.
struct Across<Pop> {
    go: SyncSender<usize>,
    done: Receiver<()>,
    pop: Pop,
}

impl<Pop: FnMut() -> (u64, u64)> Across<Pop> {
    fn new(mut push: impl FnMut(u64) -> bool + Send + 'static, pop: Pop) -> Self {
        let (go, start) = sync_channel(1);
        let (finished, done) = sync_channel(1);
        thread::spawn(move || {
            while let Ok(records) = start.recv() {
                for number in 0..records as u64 {
                    while !push(number) {
                        thread::yield_now();
                    }
                }
                let _ = finished.send(());
            }
        });
        Self { go, done, pop }
    }

    fn round(&mut self, records: usize) {
        self.go.send(records).expect("the other thread");
        let (mut count, mut sum) = (0, 0);
        while count < records as u64 {
            let seen = (self.pop)();
            (count, sum) = (count + seen.0, sum + seen.1);
            if seen.0 == 0 {
                thread::yield_now();
            }
        }
        assert_eq!((count, sum), (records as u64, checksum(records)));
        self.done.recv().expect("the other thread");
    }
}
