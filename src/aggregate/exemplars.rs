//! Which measurements of a series are kept as examples. Allocates at the first one, and for attributes that a view left
//! out.

use super::Exemplar;
use crate::accumulate::Cell;
use crate::instruments::{Exemplars, Instrument};
use crate::record::Header;

/// Examples of a series without explicit buckets.
const SIZE: usize = 4;
/// At most, for exponential buckets.
const EXPONENTIAL_SIZE: usize = 20;

/// The examples of one series since the last collection.
#[derive(Debug)]
pub(super) struct Reservoir {
    exemplars: Vec<Exemplar>,
    choice: Choice,
}

#[derive(Debug)]
enum Choice {
    /// The newest of each bucket: the buckets of the examples, ascending.
    Newest(Vec<usize>),
    /// Each candidate with the same probability (algorithm R).
    Random { size: usize, seen: u64, generator: SplitMix },
}

impl Reservoir {
    /// For a cell. The same seed and candidates leave the same examples.
    pub(super) fn new(cell: &Cell, seed: u64) -> Self {
        let size = match cell {
            Cell::Explicit(_) => None,
            Cell::Exponential { max_size, .. } => Some(EXPONENTIAL_SIZE.min(*max_size as usize)),
            _ => Some(SIZE),
        };
        let choice = match size {
            None => Choice::Newest(Vec::new()),
            Some(size) => Choice::Random { size, seen: 0, generator: SplitMix(seed) },
        };
        Self { exemplars: Vec::new(), choice }
    }

    /// Keeps a candidate or not. Only of one that is kept the attributes that were left out are asked for.
    pub(super) fn offer(
        &mut self,
        cell: &Cell,
        mut candidate: Exemplar,
        left_out: impl FnOnce() -> Box<[u8]>,
    ) {
        let exemplars = &mut self.exemplars;
        let place = match &mut self.choice {
            Choice::Newest(buckets) => {
                let Cell::Explicit(histogram) = cell else { return };
                let bucket = histogram.bucket(candidate.value.as_f64());
                match buckets.binary_search(&bucket) {
                    Ok(place) if exemplars[place].time_unix_nano > candidate.time_unix_nano => return,
                    Ok(place) => place,
                    Err(place) => {
                        candidate.filtered_attributes = left_out();
                        buckets.insert(place, bucket);
                        exemplars.insert(place, candidate);
                        return;
                    }
                }
            }
            Choice::Random { size, seen, generator } => {
                *seen += 1;
                let place =
                    if exemplars.len() < *size { exemplars.len() as u64 } else { generator.below(*seen) };
                if place >= *size as u64 {
                    return;
                }
                place as usize
            }
        };
        candidate.filtered_attributes = left_out();
        match exemplars.get_mut(place) {
            Some(old) => *old = candidate,
            None => exemplars.push(candidate),
        }
    }

    /// The examples; of explicit buckets in their order.
    pub(super) fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    /// Begins the next window.
    pub(super) fn clear(&mut self) {
        self.exemplars.clear();
        match &mut self.choice {
            Choice::Newest(buckets) => buckets.clear(),
            Choice::Random { seen, .. } => *seen = 0,
        }
    }
}

/// Steele, Lea and Flood's generator: one word of state.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// Below `bound`, which is not 0. The bias is 2^-64 of it.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        ((u128::from(word) * u128::from(bound)) >> 64) as u64
    }
}

/// Whether a measurement may become an example.
#[inline]
pub(super) fn is_candidate(header: &Header, instrument: &Instrument) -> bool {
    header.start != 0
        && match instrument.exemplars {
            Exemplars::Off => false,
            Exemplars::Sampled => header.trace_id.is_valid(),
            Exemplars::All => true,
        }
}
