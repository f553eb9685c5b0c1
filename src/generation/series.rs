//! What the current session says of one attribute set: under which ids its measurements go, and which ids its attribute keys
//! have. Looked up once per generation, in a map of the thread's own: no lock after the first time. Measuring costs what a
//! bound instrument costs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::names::{KEYS, Key, MEASURES, METER, METRICS, Measure, Metric, Names, Side};
use crate::attrs::{self, Items, Text, Value};
use crate::emit::{LiveSpan, Measurement, SpanIds, Thread, Together};
use crate::ids::FLAG_SAMPLED;
use crate::instruments::{Definition, Exemplars};
use crate::intern::Scope;
use crate::record::{InstrumentKind, Number};
use crate::sys::ticks;

/// Attribute sets that a thread remembers; beyond, it begins anew, and binds no more of them: what makes so many (a model's
/// name that a client made up) is not to take the session's room for bindings.
const MAX_SERIES: usize = 256;

/// One thing or two: the metrics that a measure feeds, the names of a key.
type Few<T> = [Option<T>; 2];

/// One attribute set of one session. Its attributes are items with inline keys, sorted by key.
#[derive(Debug)]
pub struct Series {
    targets: [Few<Target>; MEASURES],
    keys: [Few<Text<'static>>; KEYS.len()],
    attributes: Box<[u8]>,
}

/// Where and when something is measured: asked once for many measurements.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    span: SpanIds,
    ticks: u64,
}

impl Here {
    /// Now, in this span.
    pub fn of(span: &LiveSpan) -> Self {
        let span = span.context.ids();
        Self { span, ticks: ticks::now() }
    }

    /// For what is measured here.
    pub fn together(self) -> Together {
        Together::at(self.span, self.ticks)
    }
}

#[derive(Debug)]
struct Target {
    instrument: u32,
    /// 0: there was no room for it; the attributes go along.
    binding: u32,
    exemplars: Exemplars,
    is_gauge: bool,
    row: &'static Metric,
}

#[derive(Debug, Default)]
struct Known {
    session: u64,
    /// There were too many.
    overflowed: bool,
    /// By side, names, and attributes.
    series: HashMap<Box<[u8]>, Arc<Series>, RandomState>,
}

impl Series {
    /// That of these attributes, as [`put_sorted`] writes them, in the thread's session.
    pub fn of(thread: &mut Thread, side: Side, names: Names, attributes: &[u8]) -> Arc<Self> {
        thread_local! {
            static KNOWN: RefCell<Known> = RefCell::default();
        }
        let mut key = thread.take_items();
        key.extend([side as u8, names as u8]);
        key.extend_from_slice(attributes);
        let series = KNOWN.try_with(|known| known.borrow_mut().find(thread, side, names, &key));
        let series =
            series.unwrap_or_else(|_| Arc::new(Self::new(thread, side, names, &key[PREFIX..], false)));
        thread.return_items(key);
        series
    }

    fn new(thread: &Thread, side: Side, names: Names, attributes: &[u8], binds: bool) -> Self {
        let mut targets = [const { [const { None }; 2] }; MEASURES];
        if thread.intake.metrics {
            for row in METRICS.iter().filter(|row| row.sides.contains(&side)) {
                add(&mut targets[row.measure as usize], Target::of(thread, row, attributes, binds));
            }
        }
        let text = |name: &'static str| {
            let id = thread.intake.strings.intern_now(name.as_bytes());
            id.map_or(Text::Inline(name.as_bytes()), Text::Id)
        };
        let mut keys = [[None; 2]; KEYS.len()];
        for (key, ..) in KEYS {
            key.names(names).for_each(|name| add(&mut keys[key as usize], Some(text(name))));
        }
        Self { targets, keys, attributes: attributes.into() }
    }

    /// The names of a key, as they go into records.
    #[inline]
    pub fn key(&self, key: Key) -> impl Iterator<Item = Text<'static>> {
        self.keys[key as usize].iter().copied().flatten()
    }

    /// Records a measurement.
    #[inline]
    pub fn measure(&self, thread: &mut Thread, measure: Measure, value: Number, here: Here) {
        for target in self.targets[measure as usize].iter().flatten() {
            self.measure_alone(thread, target, value, here);
        }
    }

    /// Records a measurement with others, in the record that `together` begins, or alone if that has no room for it.
    #[inline]
    pub fn measure_with_others(
        &self,
        thread: &mut Thread,
        together: &mut Together,
        measure: Measure,
        value: Number,
        here: Here,
    ) {
        for target in &self.targets[measure as usize] {
            let Some(target) = target else { break };
            let in_span = match target.exemplars {
                Exemplars::Off => false,
                Exemplars::Sampled => together.is_sampled(),
                Exemplars::All => true,
            };
            let series = (target.instrument, target.binding);
            let timed = in_span || target.is_gauge;
            if target.binding == 0 || !together.add(series, value, timed, in_span) {
                self.measure_alone(thread, target, value, here);
            }
        }
    }

    /// Records what one metric gets of a measurement.
    fn measure_alone(&self, thread: &mut Thread, target: &Target, value: Number, here: Here) {
        let measurement = target.measurement(value, here);
        if target.binding != 0 {
            thread.measure(&measurement, &[]);
        } else {
            thread.measure(&measurement, &with_label(&self.attributes, target.row.label));
        }
    }

    /// Records many durations of one span, in nanoseconds; the longest may become an exemplar.
    pub fn measure_many(&self, thread: &mut Thread, measure: Measure, nanos: &[u64], here: Here) {
        let Some((longest, _)) = nanos.iter().enumerate().max_by_key(|(_, nanos)| **nanos) else { return };
        self.measure(thread, measure, super::seconds(nanos[longest]), here);
        let (before, after) = (&nanos[..longest], &nanos[longest + 1..]);
        for target in self.targets[measure as usize].iter().flatten() {
            let values = before.iter().chain(after).map(|nanos| super::seconds(*nanos));
            let any = target.measurement(Number::Int(0), here);
            if target.binding != 0 {
                thread.measure_many(&any, &[], values);
            } else {
                thread.measure_many(&any, &with_label(&self.attributes, target.row.label), values);
            }
        }
    }

    /// Records a measurement with one attribute more: rare, so its attributes go along.
    #[cold]
    pub fn measure_with(
        &self,
        thread: &mut Thread,
        measure: Measure,
        value: Number,
        here: Here,
        (key, text): (&str, &[u8]),
    ) {
        for target in self.targets[measure as usize].iter().flatten() {
            let mut items = with_label(&self.attributes, target.row.label);
            attrs::put_attribute(&mut items, Text::Inline(key.as_bytes()), Value::Str(text));
            thread.measure(&Measurement { binding: 0, ..target.measurement(value, here) }, &items);
        }
    }
}

fn add<T>(few: &mut Few<T>, one: Option<T>) {
    debug_assert!(few[1].is_none(), "a third metric of one measure, or name of one key");
    if let Some(free) = few.iter_mut().find(|one| one.is_none()) {
        *free = one;
    }
}

/// Bytes before the attributes in a key of [`Known`].
const PREFIX: usize = 2;

impl Known {
    fn find(&mut self, thread: &Thread, side: Side, names: Names, key: &[u8]) -> Arc<Series> {
        if self.session != thread.intake.session {
            *self = Self { session: thread.intake.session, ..Self::default() };
        }
        if let Some(series) = self.series.get(key) {
            return series.clone();
        }
        if self.series.len() >= MAX_SERIES {
            self.series.clear();
            self.overflowed = true;
        }
        let series = Arc::new(Series::new(thread, side, names, &key[PREFIX..], !self.overflowed));
        self.series.insert(key.into(), series.clone());
        series
    }
}

impl Target {
    /// `None`: nobody wants its measurements.
    fn of(thread: &Thread, row: &'static Metric, attributes: &[u8], binds: bool) -> Option<Self> {
        let version = env!("CARGO_PKG_VERSION").into();
        let definition = Definition {
            scope: Scope { name: METER.into(), version, schema_url: String::new() },
            name: row.name.into(),
            unit: row.unit.into(),
            description: row.description.into(),
            kind: row.kind,
            boundaries: (!row.boundaries.is_empty()).then(|| row.boundaries.to_vec()),
            exponential_max_size: None,
        };
        let instruments = &thread.intake.instruments;
        let instrument = instruments.register(&definition).filter(|known| !known.streams.is_empty())?;
        let bind = || instruments.bind(instrument.id, &with_label(attributes, row.label));
        Some(Self {
            instrument: instrument.id,
            binding: if binds { bind().unwrap_or(0) } else { 0 },
            exemplars: instrument.exemplars,
            is_gauge: row.kind == InstrumentKind::Gauge,
            row,
        })
    }

    #[inline]
    fn measurement(&self, value: Number, here: Here) -> Measurement {
        let is_exemplar = match self.exemplars {
            Exemplars::Off => false,
            Exemplars::Sampled => here.span.flags & FLAG_SAMPLED != 0,
            Exemplars::All => true,
        };
        Measurement {
            instrument: self.instrument,
            binding: self.binding,
            value,
            span: if is_exemplar { here.span } else { SpanIds::default() },
            ticks: if is_exemplar || self.is_gauge { here.ticks } else { 0 },
        }
    }
}

/// Appends attributes as bindings want them: with inline keys, sorted by key.
pub fn put_sorted<const N: usize>(out: &mut Vec<u8>, mut attributes: [(&str, Value<'_>); N]) {
    attributes.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in attributes {
        if !matches!(value, Value::Empty) {
            attrs::put_attribute(out, Text::Inline(key.as_bytes()), value);
        }
    }
}

/// The attributes and a further one, sorted as bindings want it.
fn with_label(attributes: &[u8], label: Option<(&'static str, &'static str)>) -> Vec<u8> {
    let Some((key, value)) = label else { return attributes.to_vec() };
    let mut out = Vec::with_capacity(attributes.len() + 64);
    let label = (Text::Inline(key.as_bytes()), Value::Str(value.as_bytes()));
    let mut pending = Some(label);
    for attribute in Items::new(attributes).attributes() {
        if let (Some((key, value)), Text::Inline(before)) = (pending, attribute.key)
            && let Text::Inline(name) = key
            && name < before
        {
            attrs::put_attribute(&mut out, key, value);
            pending = None;
        }
        attrs::put_attribute(&mut out, attribute.key, attribute.value);
    }
    if let Some((key, value)) = pending {
        attrs::put_attribute(&mut out, key, value);
    }
    out
}
