//! An instrument's part of a table. A set that was seen before goes to its series by a cached route, without allocating;
//! another allocates for its canonical form, its series and the route.

use std::sync::Arc;

use super::Exemplar;
use super::attributes::AttributeSet;
use super::observed::Observed;
use super::routes::{Recorded, Routes};
use super::series::{OVERFLOW, Series, StreamSeries};
use crate::batch::Lookup;
use crate::instruments::{Exemplars, Instrument, Instruments, Stream};
use crate::record::Header;

/// An instrument's part of a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) instrument: Arc<Instrument>,
    pub(super) scope: u16,
    /// In the order of `Instrument::streams`.
    pub(super) streams: Vec<StreamSeries>,
    pub(super) routes: Routes,
    /// Only of observable instruments.
    pub(super) observed: Option<Observed>,
}

/// Where a series is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Of the stream among the instrument's.
    pub(super) position: usize,
    /// Of the series in the stream.
    pub(super) index: u32,
    pub(super) stream: &'a Stream,
    pub(super) instrument: &'a Instrument,
    pub(super) instruments: &'a Instruments,
}

impl Entry {
    /// Takes a measurement of a set whose route begins at `at`. That leads to no overflow series.
    #[inline(always)]
    pub(super) fn record(
        &mut self,
        at: usize,
        header: &Header,
        recorded: Recorded<'_>,
        instruments: &Instruments,
        lookup: Lookup<'_>,
    ) {
        let Self { instrument, streams, routes, .. } = self;
        for (position, (series, index)) in streams.iter_mut().zip(&routes.series[at..]).enumerate() {
            let index = *index;
            let Some(series) = series.known(index) else { continue };
            series.cell.record(header.number(), header.start);
            if is_candidate(header, instrument)
                && let Some(stream) = instrument.streams.get(position)
            {
                let place = Place { position, index, stream, instrument, instruments };
                offer(series, place, header, recorded, lookup);
            }
        }
    }

    /// Finds or begins the series of an attribute set in each stream. A route that leads to no overflow series is
    /// cached; returned is what that takes.
    #[cold]
    pub(super) fn resolve(
        &mut self,
        recorded: Recorded<'_>,
        instruments: &Instruments,
        lookup: Lookup<'_>,
        route: &mut Vec<u32>,
        canonical: &mut Vec<u8>,
    ) -> usize {
        let bound = recorded.bound(instruments);
        let set = AttributeSet::read(bound.as_deref().unwrap_or(recorded.items), lookup.strings);
        route.clear();
        for (series, stream) in self.streams.iter_mut().zip(&self.instrument.streams) {
            if set.is_overflow() {
                route.push(OVERFLOW);
                continue;
            }
            canonical.clear();
            set.put_kept(stream.attribute_keys.as_deref(), canonical);
            route.push(series.find_or_begin(stream, canonical));
        }
        if route.contains(&OVERFLOW) { 0 } else { self.routes.insert(recorded, route) }
    }
}

/// Takes a measurement into a series.
pub(super) fn take(
    series: &mut Series,
    place: Place<'_>,
    header: &Header,
    recorded: Recorded<'_>,
    lookup: Lookup<'_>,
) {
    series.cell.record(header.number(), header.start);
    if is_candidate(header, place.instrument) {
        offer(series, place, header, recorded, lookup);
    }
}

/// Whether a measurement may become an example.
#[inline]
fn is_candidate(header: &Header, instrument: &Instrument) -> bool {
    header.start != 0
        && match instrument.exemplars {
            Exemplars::Off => false,
            Exemplars::Sampled => header.trace_id.is_valid(),
            Exemplars::All => true,
        }
}

#[inline(never)]
fn offer(series: &mut Series, place: Place<'_>, header: &Header, recorded: Recorded<'_>, lookup: Lookup<'_>) {
    let candidate = Exemplar {
        time_unix_nano: lookup.timeline.unix_nano(header.start),
        value: header.number(),
        trace_id: header.trace_id,
        span_id: header.span_id,
        filtered_attributes: Box::default(),
    };
    series.offer(place.index, candidate, || {
        let Some(keys) = &place.stream.attribute_keys else { return Box::default() };
        let bound = recorded.bound(place.instruments);
        let mut left_out = Vec::new();
        let set = AttributeSet::read(bound.as_deref().unwrap_or(recorded.items), lookup.strings);
        set.put_left_out(keys, &mut left_out);
        left_out.into()
    });
}
