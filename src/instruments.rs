//! The instruments of a session: what each is, and into which metric streams its measurements go. A recording thread
//! comes here once per instrument and session, then keeps the id; the exporter looks ids up. Views are applied here,
//! never per measurement. Locks are `std`'s: see `exporter::flush` for why.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{
    CARDINALITY_LIMIT, DEFAULT_BOUNDARIES, EXPONENTIAL_MAX_SIZE, ExemplarFilter, HistogramAggregation,
    SECONDS_BOUNDARIES, View, ViewAggregation, pattern_matches,
};
use crate::intern::Scope;
use crate::record::InstrumentKind;

/// Instruments of a session. Further ones record nothing, and are warned about once.
pub const MAX_INSTRUMENTS: usize = 1 << 16;
/// Bound attribute sets of a session. Further handles send their attributes with each measurement.
pub const MAX_BINDINGS: usize = 1 << 16;
/// Bytes of their attributes, likewise: nothing frees them before the session ends.
pub const MAX_BINDING_BYTES: usize = 16 << 20;

/// What a program says an instrument is.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The meter.
    pub scope: Scope,
    /// Name as written; compared without regard to case.
    pub name: String,
    /// UCUM unit, empty when none.
    pub unit: String,
    /// For people, empty when none.
    pub description: String,
    /// Its kind.
    pub kind: InstrumentKind,
    /// Histograms: ascending finite boundaries.
    pub boundaries: Option<Vec<f64>>,
    /// Histograms: exponential buckets, at most so many on each side of zero.
    pub exponential_max_size: Option<u32>,
}

/// How a stream's measurements become points.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregation {
    /// A sum.
    Sum {
        /// It never falls.
        monotonic: bool,
    },
    /// The last value by time.
    LastValue,
    /// Buckets: up to and including each boundary, and one above the last.
    Explicit {
        /// Ascending.
        boundaries: Arc<[f64]>,
    },
    /// Base-2 exponential buckets.
    Exponential {
        /// Buckets on each side of zero.
        max_size: u32,
    },
}

/// One metric that an instrument feeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Metric name.
    pub name: String,
    /// How.
    pub aggregation: Aggregation,
    /// The only keys that are kept; sorted.
    pub attribute_keys: Option<Vec<String>>,
    /// Attribute sets before the overflow series, which counts as one.
    pub cardinality_limit: usize,
}

/// An instrument of the session.
#[derive(Debug)]
pub struct Instrument {
    /// In `Header::name` of its measurements; never 0.
    pub id: u32,
    /// What it is.
    pub definition: Definition,
    /// None when views drop it.
    pub streams: Vec<Stream>,
    /// Its measurements may become exemplars.
    pub exemplars: Exemplars,
}

/// Which measurements of an instrument may become exemplars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exemplars {
    /// None.
    Off,
    /// Those made inside a sampled span.
    Sampled,
    /// All.
    All,
}

impl Instrument {
    /// All that becomes of a measurement is that it is added: to sums, without a time, and it is no example.
    pub fn only_adds(&self) -> bool {
        matches!(self.definition.kind, InstrumentKind::Counter | InstrumentKind::UpDownCounter)
            && self.exemplars == Exemplars::Off
            && self.streams.iter().all(|stream| matches!(stream.aggregation, Aggregation::Sum { .. }))
    }
}

/// A problem with an instrument, told once.
pub type Warning = String;

/// See the module documentation.
#[derive(Debug)]
pub struct Instruments {
    views: Vec<View>,
    default_histogram: HistogramAggregation,
    exemplar_filter: ExemplarFilter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By id - 1.
    instruments: Vec<Arc<Instrument>>,
    /// By scope, name in lower case, kind and unit.
    by_identity: HashMap<(Scope, String, InstrumentKind, String), Arc<Instrument>>,
    /// By scope and name in lower case: the first one.
    by_name: HashMap<(Scope, String), Arc<Instrument>>,
    /// By id - 1: instrument, attribute items.
    bindings: Vec<(u32, Arc<[u8]>)>,
    binding_bytes: usize,
    by_binding: HashMap<(u32, Arc<[u8]>), u32>,
    conflicts: u64,
    warnings: Vec<Warning>,
    full: bool,
}

impl Default for Instruments {
    /// Without views.
    fn default() -> Self {
        Self::new(Vec::new(), HistogramAggregation::default(), ExemplarFilter::default())
    }
}

impl Instruments {
    /// For the views and defaults of a session.
    pub fn new(
        views: Vec<View>,
        default_histogram: HistogramAggregation,
        exemplar_filter: ExemplarFilter,
    ) -> Self {
        Self { views, default_histogram, exemplar_filter, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instrument of this definition: the one that was made first with its name, kind and unit, whatever else
    /// differs. What differs is counted and told once. `None`: there are [`MAX_INSTRUMENTS`].
    pub fn register(&self, definition: &Definition) -> Option<Arc<Instrument>> {
        let mut state = self.state();
        let name = definition.name.to_lowercase();
        let identity = (definition.scope.clone(), name.clone(), definition.kind, definition.unit.clone());
        if let Some(known) = state.by_identity.get(&identity).cloned() {
            state.compare(&known.definition, definition);
            return Some(known);
        }
        if state.instruments.len() >= MAX_INSTRUMENTS {
            if !mem::replace(&mut state.full, true) {
                state.warnings.push(format!("{MAX_INSTRUMENTS} instruments: further ones record nothing"));
            }
            return None;
        }
        let by_name = (definition.scope.clone(), name);
        if let Some(first) = state.by_name.get(&by_name).cloned() {
            state.compare(&first.definition, definition);
        }
        let instrument = Arc::new(Instrument {
            id: state.instruments.len() as u32 + 1,
            streams: self.streams(definition),
            exemplars: self.exemplars(definition.kind),
            definition: definition.clone(),
        });
        state.instruments.push(instrument.clone());
        state.by_identity.insert(identity, instrument.clone());
        state.by_name.entry(by_name).or_insert_with(|| instrument.clone());
        Some(instrument)
    }

    /// The instrument of an id.
    pub fn get(&self, id: u32) -> Option<Arc<Instrument>> {
        self.state().instruments.get((id as usize).checked_sub(1)?).cloned()
    }

    /// The id of an attribute set (items in canonical order, see `attrs`) of an instrument. `None`: there are
    /// [`MAX_BINDINGS`], or [`MAX_BINDING_BYTES`].
    pub fn bind(&self, instrument: u32, items: &[u8]) -> Option<u32> {
        let mut state = self.state();
        let key = (instrument, Arc::from(items));
        if let Some(id) = state.by_binding.get(&key) {
            return Some(*id);
        }
        if state.bindings.len() >= MAX_BINDINGS || state.binding_bytes + items.len() > MAX_BINDING_BYTES {
            return None;
        }
        state.binding_bytes += items.len();
        state.bindings.push(key.clone());
        let id = state.bindings.len() as u32;
        state.by_binding.insert(key, id);
        Some(id)
    }

    /// The attribute items of a binding.
    pub fn binding(&self, id: u32) -> Option<Arc<[u8]>> {
        self.state().bindings.get((id as usize).checked_sub(1)?).map(|(_, items)| items.clone())
    }

    /// Definitions that differ from an earlier one of the same name.
    pub fn conflicts(&self) -> u64 {
        self.state().conflicts
    }

    /// Something that is to be told.
    pub fn tell(&self, warning: Warning) {
        self.state().warnings.push(warning);
    }

    /// What is to be told since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        mem::take(&mut self.state().warnings)
    }

    fn streams(&self, definition: &Definition) -> Vec<Stream> {
        let mut matching = self.views.iter().filter(|view| matches(view, definition)).peekable();
        if matching.peek().is_none() {
            return vec![self.stream(definition, None)].into_iter().flatten().collect();
        }
        matching.filter_map(|view| self.stream(definition, Some(view))).collect()
    }

    fn stream(&self, definition: &Definition, view: Option<&View>) -> Option<Stream> {
        let default = || self.default_aggregation(definition);
        let aggregation = match view.map_or(&ViewAggregation::Default, |view| &view.aggregation) {
            ViewAggregation::Drop => return None,
            ViewAggregation::Default => default(),
            ViewAggregation::Sum => Aggregation::Sum {
                monotonic: matches!(
                    definition.kind,
                    InstrumentKind::Counter | InstrumentKind::ObservableCounter | InstrumentKind::Histogram
                ),
            },
            ViewAggregation::LastValue => Aggregation::LastValue,
            ViewAggregation::Explicit(Some(boundaries)) => {
                Aggregation::Explicit { boundaries: boundaries.as_slice().into() }
            }
            ViewAggregation::Explicit(None) => {
                Aggregation::Explicit { boundaries: explicit_boundaries(definition) }
            }
            ViewAggregation::Exponential { max_size } => Aggregation::Exponential { max_size: *max_size },
        };
        let attribute_keys = view.and_then(|view| view.attribute_keys.clone()).map(|mut keys| {
            keys.sort_unstable();
            keys
        });
        Some(Stream {
            name: view.and_then(|view| view.name.clone()).unwrap_or_else(|| definition.name.clone()),
            aggregation,
            attribute_keys,
            cardinality_limit: view.and_then(|view| view.cardinality_limit).unwrap_or(CARDINALITY_LIMIT),
        })
    }

    fn default_aggregation(&self, definition: &Definition) -> Aggregation {
        match definition.kind {
            InstrumentKind::Counter | InstrumentKind::ObservableCounter => {
                Aggregation::Sum { monotonic: true }
            }
            InstrumentKind::UpDownCounter | InstrumentKind::ObservableUpDownCounter => {
                Aggregation::Sum { monotonic: false }
            }
            InstrumentKind::Gauge | InstrumentKind::ObservableGauge => Aggregation::LastValue,
            InstrumentKind::Histogram => {
                let by_default = self.default_histogram == HistogramAggregation::Exponential
                    && definition.boundaries.is_none();
                match definition.exponential_max_size.or(by_default.then_some(EXPONENTIAL_MAX_SIZE)) {
                    Some(max_size) => Aggregation::Exponential { max_size },
                    None => Aggregation::Explicit { boundaries: explicit_boundaries(definition) },
                }
            }
        }
    }

    fn exemplars(&self, kind: InstrumentKind) -> Exemplars {
        match self.exemplar_filter {
            _ if kind.is_observable() => Exemplars::Off,
            ExemplarFilter::AlwaysOn => Exemplars::All,
            ExemplarFilter::TraceBased if kind == InstrumentKind::Histogram => Exemplars::Sampled,
            _ => Exemplars::Off,
        }
    }
}

impl State {
    fn compare(&mut self, first: &Definition, other: &Definition) {
        let difference = [
            ("kind", first.kind != other.kind),
            ("unit", first.unit != other.unit),
            ("description", first.description != other.description),
            ("boundaries", first.boundaries != other.boundaries),
            ("aggregation", first.exponential_max_size != other.exponential_max_size),
        ]
        .into_iter()
        .find_map(|(what, differs)| differs.then_some(what));
        if let Some(what) = difference {
            self.conflicts += 1;
            if self.conflicts == 1 {
                let (meter, name) = (&first.scope.name, &first.name);
                self.warnings.push(format!(
                    "the instrument '{name}' of meter '{meter}' was made again with another {what}; see stats()"
                ));
            }
        }
    }
}

fn explicit_boundaries(definition: &Definition) -> Arc<[f64]> {
    match &definition.boundaries {
        Some(boundaries) => boundaries.as_slice().into(),
        None if definition.unit == "s" => SECONDS_BOUNDARIES[..].into(),
        None => DEFAULT_BOUNDARIES[..].into(),
    }
}

fn matches(view: &View, definition: &Definition) -> bool {
    let name = |pattern: &String| pattern_matches(&pattern.to_lowercase(), &definition.name.to_lowercase());
    view.instrument_name.as_ref().is_none_or(name)
        && view.meter_name.as_ref().is_none_or(|name| *name == definition.scope.name)
        && view.instrument_kind.is_none_or(|kind| kind == definition.kind)
        && view.unit.as_ref().is_none_or(|unit| *unit == definition.unit)
}
