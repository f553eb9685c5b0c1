//! The columns of a batch call: attributes and times of all rows, from lists, tuples and memory of numbers, or one value
//! for all. Elements of exact types run no Python code; the rest may, so callers are not inside `emit::with`, and a list
//! is copied before its elements' code could change it. Nothing raises but a column of another length than the parents.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::exceptions::PyValueError;
use pyo3::ffi;

use super::buffer::{Cell, Numbers};
use super::column::{Column, Sequence};
use super::convert::{Encoder, GivenName};
use super::fastcall::{Raised, given};
use super::objects::{Entries, text_of};
use super::simple::simple;
use super::time;
use crate::attrs::{self, Items, Text, Value};
use crate::emit::{self, SpanRows, Thread, Times};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;

#[inline]
fn check(len: usize, expected: usize, key: Text<'_>, session: u64) -> Result<(), Raised> {
    if len == expected { Ok(()) } else { Err(other_length(len, expected, key, session)) }
}

#[cold]
fn other_length(len: usize, expected: usize, key: Text<'_>, session: u64) -> Raised {
    let text = match key {
        Text::Inline(text) => text.to_vec(),
        Text::Id(id) => {
            emit::with(session, |thread| thread.intake.strings.resolve(id).to_vec()).unwrap_or_default()
        }
    };
    let column = String::from_utf8_lossy(&text);
    PyValueError::new_err(format!("column '{column}' has {len} values for {expected} parents")).into()
}

/// Raises for a batch without a row to write what [`times`] and [`attributes`] would raise, as far as lengths are at hand: a
/// call that is wrong must not wait for a sampler's yes. What these two might leave out, a column among it, is not looked
/// at.
///
/// # Safety
/// Attached, not inside `emit::with`; `times` are alive, `attributes` is so or null.
#[cold]
pub(super) unsafe fn check_lengths(
    times: [Object; 2],
    attributes: Object,
    constants: &[u8],
    parents: usize,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: as promised by the caller; `entries` keeps keys and values alive.
    unsafe {
        for (time, name) in times.into_iter().zip(["start_time", "end_time"]) {
            if let Some(len) = Column::len_at_hand(time)? {
                check(len, parents, Text::Inline(name.as_bytes()), session)?;
            }
        }
        let entries = if given(attributes) { Entries::of(attributes)? } else { None };
        let Some(entries) = entries else { return Ok(()) };
        let mut rest = Items::new(constants);
        let constants = std::iter::from_fn(|| rest.next_attribute().map(drop)).count();
        let limit = emit::with(session, |thread| thread.intake.limits.attributes).unwrap_or_default();
        let is_text = |key| ffi::PyUnicode_CheckExact(key) != 0 && ffi::PyUnicode_GetLength(key) > 0;
        // Other keys may have the text of one that follows.
        if entries.len() + constants > limit as usize || !entries.pairs().all(|(key, _)| is_text(key)) {
            return Ok(());
        }
        for (key, value) in entries.pairs() {
            if let Some(len) = Column::len_at_hand(value)?
                && len != parents
            {
                return Err(other_length(len, parents, Text::Inline(&text_of(key)?), session));
            }
        }
        Ok(())
    }
}

/// A time argument: of all rows, or a column of them. Unusable ones are counted, and replaced by `now`, as those that
/// were not given.
///
/// # Safety
/// Attached, not inside `emit::with`; `argument` is alive.
pub(super) unsafe fn times(
    rows: &mut SpanRows,
    argument: Object,
    name: &str,
    parents: usize,
    session: u64,
) -> Result<Times, Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        if ffi::PyLong_CheckExact(argument) != 0 {
            let time = time::given_unix_nano(argument, session)?;
            return Ok(Times::One(time.unwrap_or_else(ticks::unix_nano)));
        }
        let from = rows.numbers.len();
        match Column::of(argument)? {
            Column::Scalar | Column::Value(_) => {
                let time = time::given_unix_nano(argument, session)?;
                return Ok(Times::One(time.unwrap_or_else(ticks::unix_nano)));
            }
            Column::Numbers(column) => {
                check(column.len, parents, Text::Inline(name.as_bytes()), session)?;
                let (indices, times) = rows.indices_and_numbers();
                let mut unusable = 0;
                let now = ticks::unix_nano();
                times.extend(indices.map(|index| {
                    let time = match column.get(index) {
                        Cell::Int(nanos) => time::usable(nanos),
                        Cell::Bool(_) | Cell::Large(_) | Cell::Double(_) => None,
                    };
                    unusable += u64::from(time.is_none());
                    time.unwrap_or(now)
                }));
                if unusable > 0 {
                    time::count_unusable(unusable, session);
                }
            }
            Column::Sequence(sequence) => {
                check(sequence.len(), parents, Text::Inline(name.as_bytes()), session)?;
                let now = ticks::unix_nano();
                let are_doubles = sequence.numbers(rows);
                let appended = are_doubles == Some(false)
                    && rows.numbers[from..].iter().all(|nanos| time::usable(*nanos as i64).is_some());
                if !appended {
                    rows.numbers.truncate(from);
                    let elements = sequence.frozen()?;
                    let (indices, times) = rows.indices_and_numbers();
                    let len = elements.len();
                    for index in indices {
                        let given = if index < len {
                            let element = ffi::PyTuple_GetItem(elements.0.0, index as ffi::Py_ssize_t);
                            time::given_unix_nano(element, session)?
                        } else {
                            None
                        };
                        times.push(given.unwrap_or(now));
                    }
                }
            }
        }
        Ok(Times::Each(from))
    }
}

/// The attributes argument, over attributes that are the same in every call (items with interned keys, where they may
/// be): it wins.
///
/// # Safety
/// Attached, not inside `emit::with`; `argument` is alive or null.
pub(super) unsafe fn attributes(
    rows: &mut SpanRows,
    argument: Object,
    constants: &[u8],
    parents: usize,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: as promised by the caller; `entries` keeps keys and values alive.
    unsafe {
        let entries = if given(argument) { Entries::of(argument)? } else { None };
        let Some(entries) = entries else {
            rows.drop_attributes(u32::from(given(argument)));
            rows.add_constant(constants);
            return Ok(());
        };
        let mut names = Vec::with_capacity(entries.len());
        for (key, value) in entries.pairs().filter(|(_, value)| *value != ffi::Py_None()) {
            match GivenName::of(key, session)? {
                name if name.is_empty() => rows.drop_attributes(1),
                name => names.push((name, value)),
            }
        }
        let fields =
            emit::with(session, |thread| fields(rows, constants, &names, thread)).unwrap_or_default();
        for (key, value) in fields {
            attribute(rows, key, value, parents, session)?;
        }
        Ok(())
    }
}

/// Adds the constants that are not given anew. Returns what is given, by unique keys, as far as the limits let it in.
fn fields<'a>(
    rows: &mut SpanRows,
    constants: &[u8],
    names: &'a [(GivenName<'_>, Object)],
    thread: &Thread,
) -> Vec<(Text<'a>, Object)> {
    // A key may have been inline at its first sighting and interned at its second.
    let text = |key: Text<'a>| match key {
        Text::Id(id) => thread.intake.strings.resolve(id),
        Text::Inline(text) => text,
    };
    let mut fields: Vec<(Text<'_>, Object)> = Vec::with_capacity(names.len());
    for (name, value) in names {
        let key = name.resolve(thread);
        // Keys of different types can have one text; the last counts.
        match fields.iter_mut().find(|(other, _)| *other == key || text(*other) == text(key)) {
            Some(same) => same.1 = *value,
            None => fields.push((key, *value)),
        }
    }
    let mut kept = 0;
    let mut rest = Items::new(constants);
    loop {
        let at = rest.as_bytes();
        let Some(constant) = rest.next_attribute() else { break };
        let of_constant = match constant.key {
            Text::Id(id) => thread.intake.strings.resolve(id),
            Text::Inline(text) => text,
        };
        if !fields.iter().any(|(key, _)| text(*key) == of_constant) {
            rows.add_constant(&at[..at.len() - rest.as_bytes().len()]);
            kept += 1;
        }
    }
    let room = (thread.intake.limits.attributes as usize).saturating_sub(kept);
    rows.drop_attributes(fields.len().saturating_sub(room) as u32);
    fields.truncate(room);
    fields
}

/// One attribute of all rows.
unsafe fn attribute(
    rows: &mut SpanRows,
    key: Text<'_>,
    value: Object,
    parents: usize,
    session: u64,
) -> Result<(), Raised> {
    // SAFETY: attached, not inside `emit::with`, alive.
    unsafe {
        match Column::of(value)? {
            Column::Scalar => scalar(rows, key, value),
            Column::Value(value) => scalar(rows, key, value.0),
            Column::Sequence(sequence) => {
                check(sequence.len(), parents, key, session)?;
                let from = rows.numbers.len();
                if let Text::Id(id) = key
                    && let Some(is_double) = sequence.numbers(rows)
                {
                    rows.add_numbers(id, is_double, from);
                    return Ok(());
                }
                values(rows, key, &sequence.frozen()?)
            }
            Column::Numbers(column) => {
                check(column.len, parents, key, session)?;
                if let (Text::Id(id), Some(is_double)) = (key, column.are_doubles()) {
                    let (indices, numbers) = rows.indices_and_numbers();
                    let from = numbers.len();
                    column.widen(indices, numbers);
                    rows.add_numbers(id, is_double, from);
                } else {
                    cells(rows, key, &column);
                }
                Ok(())
            }
        }
    }
}

unsafe fn scalar(rows: &mut SpanRows, key: Text<'_>, value: Object) -> Result<(), Raised> {
    // SAFETY: attached, not inside `emit::with`, alive.
    unsafe {
        if let Some(value) = simple(value) {
            rows.add_value(key, value);
            return Ok(());
        }
        let mut encoder = Encoder::default();
        encoder.attribute_as(key, value)?;
        rows.add_constant(encoder.items());
        Ok(())
    }
}

/// A column of any objects.
unsafe fn values(rows: &mut SpanRows, key: Text<'_>, elements: &Sequence) -> Result<(), Raised> {
    let mut column = rows.item_column();
    // SAFETY: attached, not inside `emit::with`; a tuple, which keeps its elements alive and does not change.
    unsafe {
        let len = elements.len();
        while let Some(index) = column.next_index() {
            let element = if index < len {
                ffi::PyTuple_GetItem(elements.0.0, index as ffi::Py_ssize_t)
            } else {
                ffi::Py_None()
            };
            match simple(element) {
                Some(value) => column.put(|items| attrs::put_attribute(items, key, value)),
                None => {
                    let mut encoder = Encoder::default();
                    encoder.attribute_as(key, element)?;
                    column.put(|items| items.extend_from_slice(encoder.items()));
                }
            }
        }
    }
    column.finish();
    Ok(())
}

/// A column of numbers that are not all alike.
fn cells(rows: &mut SpanRows, key: Text<'_>, numbers: &Numbers) {
    let mut column = rows.item_column();
    while let Some(index) = column.next_index() {
        column.put(|items| match numbers.get(index) {
            Cell::Bool(truth) => attrs::put_attribute(items, key, Value::Bool(truth)),
            Cell::Int(number) => attrs::put_attribute(items, key, Value::Int(number)),
            Cell::Large(number) => {
                attrs::put_attribute(items, key, Value::Str(number.to_string().as_bytes()))
            }
            Cell::Double(number) => attrs::put_attribute(items, key, Value::Double(number)),
        });
    }
    column.finish();
}
