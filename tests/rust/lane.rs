//! Lanes on one thread, against a model that knows exactly what must be accepted, refused, handed out and kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytemuck::Zeroable;
use proptest::prelude::*;
use pytracingx::batch::Batch;
use pytracingx::lane::{Drainer, Lanes, Producer, PushError};
use pytracingx::record::{Header, kind};

pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 64;
pub(crate) const MAX_PAYLOAD_BYTES: usize = BLOCK_BYTES - 128;
const OVERSIZE_PAYLOADS: usize = 256;

/// A record whose payload can be told from every other's.
pub(crate) fn header(number: u64, payload_bytes: usize) -> Header {
    Header { kind: kind::SPAN, payload_bytes: payload_bytes as u32, start: number, ..Header::zeroed() }
}

pub(crate) fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

pub(crate) fn drain(drainer: &mut Drainer, batch: &mut Batch) -> usize {
    let batch = RefCell::new(batch);
    drainer.drain(&mut |run| batch.borrow_mut().extend(run), &mut |ticket, payload| {
        batch.borrow_mut().add_oversize(ticket, payload);
    })
}

#[derive(Debug, Clone)]
enum Step {
    Attach,
    Push {
        producer: usize,
        bytes: usize,
        times: usize,
    },
    /// As many pushes, published together.
    Run {
        producer: usize,
        bytes: usize,
        times: usize,
    },
    Exit {
        producer: usize,
    },
    Drain,
    Shrink,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        4 => 0..300_usize,
        2 => 0..BLOCK_BYTES,
        2 => MAX_PAYLOAD_BYTES - 2..MAX_PAYLOAD_BYTES + 3,
        1 => 0..4 * BLOCK_BYTES,
    ];
    prop_oneof![
        2 => Just(Step::Attach),
        8 => (any::<usize>(), bytes.clone(), 1..40_usize)
            .prop_map(|(producer, bytes, times)| Step::Push { producer, bytes, times }),
        8 => (any::<usize>(), bytes, 1..40_usize)
            .prop_map(|(producer, bytes, times)| Step::Run { producer, bytes, times }),
        1 => any::<usize>().prop_map(|producer| Step::Exit { producer }),
        2 => Just(Step::Drain),
        1 => Just(Step::Shrink),
    ]
}

/// A lane as the documentation describes it.
#[derive(Debug)]
struct ModelLane {
    /// Not drained yet: number and payload size.
    queue: Vec<(u64, usize)>,
    /// Blocks between the ends.
    blocks: usize,
    /// First free byte in the last of them.
    at: usize,
    spare: bool,
    closed: bool,
}

#[derive(Debug)]
struct Model {
    max_blocks: usize,
    budget_blocks: usize,
    oversize_budget: usize,
    lanes: Vec<ModelLane>,
    /// Lanes of exited threads, by index.
    idle: VecDeque<usize>,
    oversize: Vec<usize>,
}

impl Model {
    fn in_use(&self) -> usize {
        self.lanes.iter().map(|lane| lane.blocks + usize::from(lane.spare)).sum()
    }

    fn attach(&mut self) -> usize {
        self.idle.pop_front().unwrap_or_else(|| {
            self.lanes.push(ModelLane {
                queue: Vec::new(),
                blocks: 0,
                at: BLOCK_BYTES,
                spare: false,
                closed: false,
            });
            self.lanes.len() - 1
        })
    }

    /// Whether a record of `need` bytes finds room; takes a block ahead if it needs one.
    fn reserve(&mut self, lane: usize, need: usize) -> bool {
        let arena_is_full = self.in_use() >= self.budget_blocks;
        let lane = &mut self.lanes[lane];
        if need <= BLOCK_BYTES - lane.at {
            return true;
        }
        let room = lane.blocks < self.max_blocks && (lane.spare || !arena_is_full);
        lane.spare |= room;
        room
    }

    fn push(&mut self, lane: usize, number: u64, bytes: usize) -> Result<(), PushError> {
        let oversize = bytes > MAX_PAYLOAD_BYTES;
        let need = 64 + if oversize { 64 } else { bytes.next_multiple_of(64) };
        if !self.reserve(lane, need) {
            return Err(PushError::Full);
        }
        if oversize {
            let waiting: usize = self.oversize.iter().sum();
            if waiting + bytes > self.oversize_budget || self.oversize.len() == OVERSIZE_PAYLOADS {
                return Err(PushError::OversizeFull);
            }
            self.oversize.push(bytes);
        }
        let lane = &mut self.lanes[lane];
        if need > BLOCK_BYTES - lane.at {
            (lane.blocks, lane.at, lane.spare) = (lane.blocks + 1, HEADER_BYTES, false);
        }
        lane.at += need;
        lane.queue.push((number, bytes));
        Ok(())
    }

    fn exit(&mut self, lane: usize) {
        self.idle.push_back(lane);
        assert!(self.idle.len() <= 64, "the model does not know more idle lanes");
    }

    /// What every lane held.
    fn drain(&mut self) -> Vec<Vec<(u64, usize)>> {
        self.oversize.clear();
        let drained = self.lanes.iter_mut().map(|lane| {
            lane.blocks = if lane.closed { 0 } else { lane.blocks.min(1) };
            std::mem::take(&mut lane.queue)
        });
        drained.collect()
    }

    fn shrink(&mut self) {
        for lane in self.idle.drain(..) {
            (self.lanes[lane].closed, self.lanes[lane].spare) = (true, false);
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.closed && lane.queue.is_empty()) {
            lane.blocks = 0;
        }
    }
}

/// Everything the model says was drained, exactly once, in each lane's order, and with its payload.
fn check(batch: &Batch, drained: &[Vec<(u64, usize)>]) {
    let mut next = vec![0; drained.len()];
    for span in batch.spans() {
        let number = span.header.start;
        let lane = drained
            .iter()
            .zip(&next)
            .position(|(lane, next)| lane.get(*next).is_some_and(|(expected, _)| *expected == number));
        let lane = lane.unwrap_or_else(|| panic!("record {number} was not expected now"));
        let (_, bytes) = drained[lane][next[lane]];
        assert!(span.payload == payload(number, bytes), "record {number} came torn");
        next[lane] += 1;
    }
    let missing: usize = drained.iter().zip(&next).map(|(lane, next)| lane.len() - next).sum();
    assert_eq!(missing, 0, "accepted and not handed out");
}

fn follow(max_blocks: usize, budget_blocks: usize, steps: &[Step]) {
    let (capacity, budget) = (max_blocks * BLOCK_BYTES, budget_blocks * BLOCK_BYTES);
    let lanes = Lanes::new(capacity, budget).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut model = Model {
        max_blocks,
        budget_blocks,
        oversize_budget: budget,
        lanes: Vec::new(),
        idle: VecDeque::new(),
        oversize: Vec::new(),
    };
    let mut producers: Vec<(Producer, usize)> = Vec::new();
    let mut batch = Batch::default();
    let mut number = 0;
    for step in steps {
        match *step {
            Step::Attach => producers.push((lanes.attach(), model.attach())),
            Step::Push { producer, bytes, times } if !producers.is_empty() => {
                let count = producers.len();
                let (producer, lane) = &mut producers[producer % count];
                for _ in 0..times {
                    number += 1;
                    let pushed = producer.push(&header(number, bytes), &payload(number, bytes));
                    assert_eq!(pushed, model.push(*lane, number, bytes), "record {number}");
                }
            }
            Step::Run { producer, bytes, times } if !producers.is_empty() => {
                let count = producers.len();
                let (producer, lane) = &mut producers[producer % count];
                let mut run = producer.run();
                for _ in 0..times {
                    number += 1;
                    let (header, payload) = (header(number, bytes), payload(number, bytes));
                    let pushed = if bytes > MAX_PAYLOAD_BYTES {
                        run.push_any(&header, &payload)
                    } else {
                        run.push(&header, |to| to.copy_from_slice(&payload))
                    };
                    assert_eq!(pushed, model.push(*lane, number, bytes), "record {number}");
                }
            }
            Step::Exit { producer } if !producers.is_empty() => {
                let count = producers.len();
                let (producer, lane) = producers.swap_remove(producer % count);
                drop(producer);
                model.exit(lane);
            }
            Step::Push { .. } | Step::Run { .. } | Step::Exit { .. } => {}
            Step::Drain => {
                drain(&mut drainer, &mut batch);
                check(&batch, &model.drain());
                batch.clear();
                assert!(drainer.park(), "nothing is left, so the exporter may sleep");
                drainer.unpark();
            }
            Step::Shrink => {
                drainer.shrink();
                model.shrink();
            }
        }
        assert_eq!(drainer.usage().1, model.in_use() * BLOCK_BYTES, "after {step:?}");
    }
    drop(producers);
    drain(&mut drainer, &mut batch);
    check(&batch, &model.drain());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn accepts_refuses_and_hands_out_as_the_model_says(
        max_blocks in 2..6_usize,
        budget_blocks in 2..12_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        follow(max_blocks, budget_blocks, &steps);
    }
}

/// However small the memory and however many the lanes: once drained, the exporter may sleep.
#[test]
fn a_drained_exporter_may_sleep() {
    for (max_blocks, budget_blocks, threads) in [(1, 1, 1), (2, 2, 9), (2, 3, 2), (128, 4, 4), (4, 64, 64)] {
        let lanes = Lanes::new(max_blocks * BLOCK_BYTES, budget_blocks * BLOCK_BYTES).unwrap();
        let mut drainer = lanes.drainer().unwrap();
        let mut producers: Vec<Producer> = (0..threads).map(|_| lanes.attach()).collect();
        for _ in 0..3 {
            for producer in &mut producers {
                while producer.push(&header(1, 5_000), &payload(1, 5_000)).is_ok() {}
            }
            assert!(!drainer.park(), "full lanes must not be slept over");
            let mut batch = Batch::default();
            drain(&mut drainer, &mut batch);
            assert!(batch.span_count() > 0);
            assert!(drainer.park(), "{max_blocks} of {budget_blocks} blocks, {threads} threads");
            drainer.unpark();
        }
    }
}

/// A run whose handling panics is lost; the ones behind it are not, and none comes twice.
#[test]
fn a_panic_in_a_run_costs_that_run() {
    let lanes = Lanes::new(1 << 20, 1 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    for number in 0..2 {
        producer.push(&header(number, MAX_PAYLOAD_BYTES), &payload(number, MAX_PAYLOAD_BYTES)).unwrap();
    }
    let panicking = std::panic::AssertUnwindSafe(|| {
        drainer.drain(&mut |_| std::panic::resume_unwind(Box::new("on purpose")), &mut |_, _| {})
    });
    assert!(std::panic::catch_unwind(panicking).is_err());
    let mut batch = Batch::default();
    drain(&mut drainer, &mut batch);
    assert_eq!(batch.spans().map(|span| span.header.start).collect::<Vec<_>>(), [1]);
}

/// What one lane gives back, another may use, and the memory is that of one.
#[test]
fn shrinking_closes_what_no_thread_holds() {
    let lanes = Lanes::new(1 << 20, 1 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut batch = Batch::default();
    for round in 0..3 {
        let mut producers: Vec<Producer> = (0..8).map(|_| lanes.attach()).collect();
        for producer in &mut producers {
            producer.push(&header(round, 10), &payload(round, 10)).unwrap();
        }
        drop(producers);
        drain(&mut drainer, &mut batch);
        assert_eq!(drainer.usage(), (8, 8 * BLOCK_BYTES, 8 * BLOCK_BYTES));
        drainer.shrink();
        assert_eq!(drainer.usage(), (0, 0, 8 * BLOCK_BYTES));
        assert_eq!(batch.span_count(), 8);
        batch.clear();
    }
    assert_eq!(Arc::strong_count(&lanes), 2, "ours and the drainer's");
}
