//! Draining: records with 128 bytes of items from eight lanes into a batch, beside a copy that looks at nothing. Both
//! push first, as there is nothing to drain otherwise.

use std::cell::RefCell;
use std::hint::black_box;

use pytracingx::batch::Batch;
use pytracingx::lane::{Lanes, Producer};
use pytracingx::record::Header;

use crate::measure::{Candidate, Options, Report, compare};
use crate::ring::record;

const LANES: usize = 8;
const ITEM_BYTES: usize = 128;
const OURS: &str = "ours: push + drain into a batch";
const COPY: &str = "push + drain, copied only";

pub fn run(options: Options) -> Report {
    let records = if options.check { 8 } else { 1024 };
    let lanes = Lanes::new(8 << 20, 64 << 20).expect("address space");
    let mut drainer = lanes.drainer().expect("the first drainer");
    let producers: RefCell<Vec<Producer>> = RefCell::new((0..LANES).map(|_| lanes.attach()).collect());
    let items = [7; ITEM_BYTES];
    let push = || {
        for producer in producers.borrow_mut().iter_mut() {
            for number in 0..records as u64 {
                let header = Header { payload_bytes: ITEM_BYTES as u32, ..record(number) };
                producer.push(&header, &items).expect("room for a round");
            }
        }
    };
    let batch = RefCell::new(Batch::default());
    let mut bytes = Vec::new();
    let drainer = RefCell::new(&mut drainer);
    let candidates = vec![
        Candidate::new(OURS, || {
            push();
            let mut batch = batch.borrow_mut();
            drainer.borrow_mut().drain(&mut |run| batch.extend(run), &mut |_, _| {});
            assert_eq!(black_box(&batch).span_count(), LANES * records);
            batch.clear();
        }),
        Candidate::new(COPY, || {
            push();
            bytes.clear();
            drainer.borrow_mut().drain(&mut |run| bytes.extend_from_slice(run), &mut |_, _| {});
            assert_eq!(black_box(&bytes).len(), LANES * records * (64 + ITEM_BYTES));
        }),
    ];
    compare("record", LANES * records, options, candidates, (OURS, COPY, 0.5))
}
