//! Lanes between real threads: order, completeness, bounds, churn, wake-ups.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use pytracingx::batch::Batch;
use pytracingx::ids::TraceId;
use pytracingx::lane::{Drainer, Lanes, Producer, PushError};
use pytracingx::record::{Header, SLOT_BYTES};
use pytracingx::sys::poll::{PollFd, wait};

use crate::lane::{BLOCK_BYTES, drain, header, payload};

/// Longer than any test takes: a wait that ends only because it is over fails its test.
const LONG: Duration = Duration::from_secs(60);

fn header_of(producer: usize, number: u64, payload_bytes: usize) -> Header {
    Header { trace_id: TraceId((producer as u128).to_ne_bytes()), ..header(number, payload_bytes) }
}

fn producer_of(header: &Header) -> usize {
    u128::from_ne_bytes(header.trace_id.0) as usize
}

/// As the exporter waits. True: it was woken or need not have slept.
fn sleep(lanes: &Lanes, drainer: &Drainer, timeout: Duration) -> bool {
    let mut fds = [PollFd { fd: lanes.waker().fd(), readable: true, writable: false, ready: false }];
    let parked = drainer.park();
    wait(&mut fds, if parked { timeout } else { Duration::ZERO });
    drainer.unpark();
    if fds[0].ready {
        lanes.waker().drain();
    }
    !parked || fds[0].ready
}

/// A stream of sizes: mostly small, some near a block, a few above.
fn sizes(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let draw = (state >> 16) as usize;
        match state % 100 {
            0 => draw % (2 * BLOCK_BYTES),
            1..5 => draw % LARGEST_COMMON_BYTES,
            _ => draw % 400,
        }
    }
}

const LARGEST_COMMON_BYTES: usize = 8 * 1024;

/// What a record with this payload takes of its lane: what is too large for a block leaves a ticket there.
fn bytes_in_lane(payload: usize) -> usize {
    let in_lane = if payload > BLOCK_BYTES - 2 * SLOT_BYTES { size_of::<u64>() } else { payload };
    Header::slots_for(in_lane) * SLOT_BYTES
}

/// Says that a writer is done, also when it panics.
struct End<'a>(&'a AtomicUsize, &'a Lanes);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
        self.1.waker().wake();
    }
}

#[test]
fn every_accepted_record_arrives_once_whole_and_in_order() {
    const THREADS: usize = 8;
    const RECORDS: u64 = 20_000;
    const MAX_BLOCKS: usize = 4;
    // The arena holds all lanes, so only a lane's own bound may refuse.
    let lanes = Lanes::new(MAX_BLOCKS * BLOCK_BYTES, THREADS * MAX_BLOCKS * BLOCK_BYTES).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let drained: Arc<Vec<AtomicUsize>> = Arc::new((0..THREADS).map(|_| AtomicUsize::new(0)).collect());
    let finished = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..THREADS)
        .map(|index| {
            let (mut producer, lanes) = (lanes.attach(), Arc::clone(&lanes));
            let (drained, finished) = (Arc::clone(&drained), Arc::clone(&finished));
            thread::spawn(move || {
                let _end = End(&finished, &lanes);
                let mut size = sizes(index as u64 + 1);
                let mut accepted = Vec::new();
                let mut accepted_bytes = 0;
                for number in 0..RECORDS {
                    let bytes = size();
                    let before = drained[index].load(Ordering::Acquire);
                    match producer.push(&header_of(index, number, bytes), &payload(number, bytes)) {
                        Ok(()) => {
                            accepted.push((number, bytes));
                            accepted_bytes += bytes_in_lane(bytes);
                        }
                        Err(PushError::OversizeFull) => {}
                        // The block in hand is full but for less than this record, and none of it is drained.
                        Err(PushError::Full) if bytes <= 400 => {
                            let waiting = accepted_bytes - before;
                            assert!(
                                waiting >= BLOCK_BYTES - 1024,
                                "refused with {waiting} bytes in the lane"
                            );
                            // Eight writers on two cores would otherwise leave the drainer no time.
                            thread::sleep(Duration::from_micros(200));
                        }
                        Err(PushError::Full) => {}
                    }
                }
                accepted
            })
        })
        .collect();

    let mut received: Vec<Vec<(u64, usize)>> = vec![Vec::new(); THREADS];
    let mut batch = Batch::default();
    loop {
        let last = finished.load(Ordering::Acquire) == THREADS;
        drain(&mut drainer, &mut batch);
        let mut bytes = [0; THREADS];
        for span in batch.spans() {
            let (producer, number) = (producer_of(span.header), span.header.start);
            assert!(span.payload == payload(number, span.payload.len()), "record {number} came torn");
            received[producer].push((number, span.payload.len()));
            bytes[producer] += bytes_in_lane(span.payload.len());
        }
        for (drained, bytes) in drained.iter().zip(bytes) {
            drained.fetch_add(bytes, Ordering::Release);
        }
        batch.clear();
        if last {
            break;
        }
        sleep(&lanes, &drainer, Duration::from_millis(5));
    }
    for (writer, received) in writers.into_iter().zip(received) {
        let accepted = writer.join().unwrap();
        assert!(accepted.len() > 1_000, "hardly anything was accepted: {}", accepted.len());
        assert!(accepted == received, "accepted {} records, received {}", accepted.len(), received.len());
    }
}

/// A shrink while threads record refuses nothing that fits.
#[test]
fn shrinking_takes_no_memory_from_a_writer() {
    const BLOCKS: usize = 8;
    let lanes = Lanes::new(BLOCKS * BLOCK_BYTES, BLOCKS * BLOCK_BYTES).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    // A record fills a block. While a round is drained the next one is written, and a block is kept: one is to spare,
    // for the shrink to hold.
    const RECORDS: usize = (BLOCKS - 2) / 2;
    let (turn, theirs) = sync_channel(0);
    let writer = thread::spawn(move || {
        for round in 0..500 {
            for _ in 0..RECORDS {
                let pushed = producer.push(&header(round, 40_000), &payload(round, 40_000));
                assert_eq!(pushed, Ok(()), "in round {round}");
            }
            turn.send(()).unwrap();
        }
    });
    let mut batch = Batch::default();
    for _ in 0..500 {
        for _ in 0..4 {
            drainer.shrink();
        }
        theirs.recv().unwrap();
        drain(&mut drainer, &mut batch);
    }
    writer.join().unwrap();
    drain(&mut drainer, &mut batch);
    assert_eq!(batch.span_count(), 500 * RECORDS);
}

#[test]
fn threads_that_come_and_go_one_by_one_share_a_lane() {
    const THREADS: u64 = 10_000;
    let lanes = Lanes::new(1 << 20, 4 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut batch = Batch::default();
    let mut received = 0;
    for number in 0..THREADS {
        let lanes = Arc::clone(&lanes);
        let thread = thread::spawn(move || lanes.attach().push(&header(number, 100), &payload(number, 100)));
        thread.join().unwrap().unwrap();
        if number % 1_000 == 999 {
            drain(&mut drainer, &mut batch);
            for span in batch.spans() {
                assert_eq!(span.header.start, received);
                received += 1;
            }
            batch.clear();
        }
    }
    assert_eq!(received, THREADS);
    let (alive, _, most) = drainer.usage();
    assert_eq!(alive, 1);
    assert!(most <= 4 * BLOCK_BYTES, "{most} bytes for one thread at a time");
}

#[test]
fn a_crowd_of_threads_leaves_no_memory_behind() {
    const CROWD: usize = 100;
    let lanes = Lanes::new(1 << 20, 2 * CROWD * BLOCK_BYTES).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut batch = Batch::default();
    for round in 0..100 {
        let all_have_one = Barrier::new(CROWD);
        thread::scope(|scope| {
            for number in 0..CROWD {
                let (lanes, all_have_one) = (&lanes, &all_have_one);
                scope.spawn(move || {
                    let mut producer = lanes.attach();
                    all_have_one.wait();
                    producer.push(&header(number as u64, 100), &payload(number as u64, 100)).unwrap();
                });
            }
        });
        drain(&mut drainer, &mut batch);
        assert_eq!(batch.span_count(), CROWD, "in round {round}");
        batch.clear();
        let (alive, bytes, _) = drainer.usage();
        assert!(alive <= 64 && bytes <= 64 * BLOCK_BYTES, "{alive} lanes with {bytes} bytes stay");
    }
    drainer.shrink();
    let (alive, bytes, most) = drainer.usage();
    assert_eq!((alive, bytes), (0, 0));
    assert!(most <= (CROWD + 64) * BLOCK_BYTES);
}

/// Pushes until `bytes` are in the lane.
fn fill(producer: &mut Producer, bytes: usize) {
    for number in 0..bytes.div_ceil(1024 + SLOT_BYTES) as u64 {
        producer.push(&header(number, 1024), &payload(number, 1024)).unwrap();
    }
}

fn is_woken(lanes: &Arc<Lanes>, drainer: &mut Drainer, record: impl FnOnce() + Send + 'static) {
    let mut batch = Batch::default();
    drain(drainer, &mut batch);
    let mut fds = [PollFd { fd: lanes.waker().fd(), readable: true, writable: false, ready: false }];
    assert!(drainer.park(), "there is nothing to do");
    let recording = thread::spawn(record);
    wait(&mut fds, LONG);
    assert!(fds[0].ready, "nobody woke the drainer");
    drainer.unpark();
    lanes.waker().drain();
    recording.join().unwrap();
}

#[test]
fn a_parked_drainer_is_woken_by_a_quarter_of_a_lane() {
    let lanes = Lanes::new(1 << 20, 64 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    is_woken(&lanes, &mut drainer, move || fill(&mut producer, (1 << 20) / 4 + 2 * BLOCK_BYTES));
}

#[test]
fn a_parked_drainer_is_woken_by_a_quarter_of_the_arena() {
    let lanes = Lanes::new(4 << 20, 4 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    // A fifth of a lane's bound each; and threads that never record do not count.
    let mut producers: Vec<Producer> = (0..2).map(|_| lanes.attach()).collect();
    let idle: Vec<Producer> = (0..500).map(|_| lanes.attach()).collect();
    is_woken(&lanes, &mut drainer, move || {
        for producer in &mut producers {
            fill(producer, (4 << 20) / 5);
        }
    });
    drop(idle);
}

#[test]
fn a_parked_drainer_is_woken_by_an_oversized_payload() {
    let lanes = Lanes::new(1 << 20, 64 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    is_woken(&lanes, &mut drainer, move || producer.push(&header(1, 100_000), &payload(1, 100_000)).unwrap());
}

/// Below the mark nobody is woken: recording makes no system call then.
#[test]
fn a_parked_drainer_sleeps_on_below_the_mark() {
    let lanes = Lanes::new(1 << 20, 64 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    // A lane that it has not met yet would keep it awake for one drain.
    assert!(!drainer.park());
    drain(&mut drainer, &mut Batch::default());
    assert!(drainer.park());
    fill(&mut producer, (1 << 20) / 5);
    let mut fds = [PollFd { fd: lanes.waker().fd(), readable: true, writable: false, ready: false }];
    wait(&mut fds, Duration::ZERO);
    assert!(!fds[0].ready);
}

/// The whole protocol, many times, with sleeps that only a wake-up ends.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: usize = 2_000;
    let lanes = Lanes::new(3 * BLOCK_BYTES, 64 << 20).unwrap();
    let mut drainer = lanes.drainer().unwrap();
    let mut producer = lanes.attach();
    let received = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&received);
    let writer = thread::spawn(move || {
        for round in 0..ROUNDS {
            // Each needs a block of its own, and the second block in the lane passes the mark.
            for _ in 0..2 {
                producer.push(&header(round as u64, 40_000), &[7; 40_000]).unwrap();
            }
            while theirs.load(Ordering::Acquire) < 2 * (round + 1) {
                thread::yield_now();
            }
        }
    });
    let mut batch = Batch::default();
    while received.load(Ordering::Relaxed) < 2 * ROUNDS {
        assert!(sleep(&lanes, &drainer, LONG), "a pressed lane and nobody rang");
        drain(&mut drainer, &mut batch);
        received.fetch_add(batch.span_count(), Ordering::Release);
        batch.clear();
    }
    writer.join().unwrap();
}
