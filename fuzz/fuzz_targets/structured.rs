//! Spans and items out of fuzzer bytes.

use arbitrary::{Arbitrary, Result, Unstructured};
use pytracingx::limits::SpanLimits;
use pytracingx::record::{SpanKind, StatusCode};

use crate::model::{Attributes, Item, Name, SpanModel, Value};

pub type Bytes<'a, 'b> = &'a mut Unstructured<'b>;

/// Characters of every UTF-8 length, and lengths around those where sizes take another byte or another path.
pub fn text(u: Bytes<'_, '_>) -> Result<String> {
    let characters = ['a', 'k', '.', 'é', '€', '😀', '\0', '\u{7f}'];
    let len = match u.int_in_range(0..=15)? {
        0..=10 => u.int_in_range(0..=40)?,
        11..=13 => u.int_in_range(100..=140)?,
        _ => u.int_in_range(16_300..=16_400)?,
    };
    // Long texts repeat what little they draw: they are there for their length.
    let drawn = (0..len.min(16)).map(|_| u.choose(&characters).copied()).collect::<Result<Vec<_>>>()?;
    Ok(drawn.iter().cycle().take(len).collect())
}

fn name(u: Bytes<'_, '_>) -> Result<Name> {
    Ok(Name { text: text(u)?, interned: u.arbitrary()? })
}

pub fn many<T>(
    u: Bytes<'_, '_>,
    most: usize,
    mut one: impl FnMut(Bytes<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| one(u)).collect()
}

pub fn value(u: Bytes<'_, '_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth < 60 { 8 } else { 5 })? {
        0 => Value::Empty,
        1 => Value::Bool(u.arbitrary()?),
        2 => Value::Int(i64::arbitrary(u)? >> u.int_in_range(0..=63)?),
        3 => Value::Double(f64::from_bits(u.arbitrary()?)),
        4 => Value::Str(text(u)?),
        5 => Value::Bytes(many(u, 20, |u| u.arbitrary())?),
        6 => Value::Array(many(u, 3, |u| value(u, depth + 1))?),
        7 => Value::Map(many(u, 3, |u| Ok((name(u)?, value(u, depth + 1)?)))?),
        // A tower: deeper than random choices go.
        _ => {
            let (levels, maps, key) = (u.int_in_range(0..=60 - depth)?, u.arbitrary()?, name(u)?);
            let wrap = |value, _| {
                if maps { Value::Map(vec![(key.clone(), value)]) } else { Value::Array(vec![value]) }
            };
            (0..levels).fold(value(u, 60)?, wrap)
        }
    })
}

pub fn attributes(u: Bytes<'_, '_>) -> Result<Attributes> {
    many(u, 5, |u| Ok((name(u)?, value(u, 0)?)))
}

pub fn item(u: Bytes<'_, '_>) -> Result<Item> {
    Ok(match u.int_in_range(0..=11)? {
        0 => Item::Name(text(u)?),
        1 => Item::TraceState(text(u)?),
        2 => Item::Status(text(u)?),
        3 => Item::Event {
            name: name(u)?,
            time: u.arbitrary()?,
            explicit: u.arbitrary()?,
            dropped: u.arbitrary()?,
            attributes: attributes(u)?,
        },
        4 => Item::Link {
            trace_id: u.arbitrary()?,
            span_id: u.arbitrary()?,
            flags: u.arbitrary()?,
            trace_state: text(u)?,
            dropped: u.arbitrary()?,
            attributes: attributes(u)?,
        },
        5 => Item::Dropped { attributes: u.arbitrary()?, events: u.arbitrary()?, links: u.arbitrary()? },
        6 => Item::SeverityText(text(u)?),
        7 => Item::Body(value(u, 0)?),
        _ => Item::Attribute(name(u)?, value(u, 0)?),
    })
}

/// A span of scope 0 to 3 for the sinks of the low two mask bits.
pub fn span(u: Bytes<'_, '_>) -> Result<SpanModel> {
    let kinds =
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    let parent: [u8; 8] = u.arbitrary()?;
    Ok(SpanModel {
        mask: u.int_in_range(0..=3)?,
        scope: u.int_in_range(0..=3)?,
        trace_id: u.arbitrary()?,
        span_id: u.arbitrary()?,
        parent: (parent != [0; 8]).then_some(parent),
        remote: u.arbitrary()?,
        trace_flags: u.arbitrary()?,
        kind: *u.choose(&kinds)?,
        status: *u.choose(&[StatusCode::Unset, StatusCode::Ok, StatusCode::Error])?,
        name: if u.arbitrary()? { Some(text(u)?) } else { None },
        start: u.arbitrary()?,
        duration: u.arbitrary()?,
        items: many(u, 10, item)?,
        oversize: u.arbitrary()?,
    })
}

pub fn limits(u: Bytes<'_, '_>) -> Result<SpanLimits> {
    let mut count = || Ok(if u.arbitrary()? { 128 } else { u.int_in_range(0..=4)? });
    Ok(SpanLimits {
        attributes: count()?,
        events: count()?,
        links: count()?,
        attributes_per_event: count()?,
        attributes_per_link: count()?,
        value_length: if u.arbitrary()? { u32::MAX } else { u.int_in_range(0..=20)? },
    })
}
