//! For callgrind, under bench/python/guard.py: each operation of the exporter between calls of getppid, once and three times,
//! so that half the difference is the operation's. Prints the names in order; [`ITEMS`] operations are one.

use std::hint::black_box;
use std::os::unix::process::parent_id;

use crate::{aggregate, encode, records::Session};

const ITEMS: usize = 512;

/// An operation's name, and its work on [`ITEMS`] records.
pub(crate) type Counted<'a> = (&'static str, Box<dyn FnMut() + 'a>);

pub fn run() {
    let session = Session::new();
    let bodies = encode::bodies(&session, ITEMS);
    for (name, mut work) in bodies.into_iter().chain(aggregate::counting(ITEMS)) {
        work();
        work();
        for times in [1, 3] {
            black_box(parent_id());
            (0..times).for_each(|_| work());
        }
        black_box(parent_id());
        println!("{name}");
    }
    eprintln!("operations={ITEMS}");
}
