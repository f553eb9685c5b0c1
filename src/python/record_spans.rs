//! One call, many finished spans: what `record_spans` of the module, of tracers and of templates does. First all
//! arguments are converted, into a table that is no state of the thread (converting may run Python code, which may record
//! itself); then the rows are written.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::CStr;

use pyo3::ffi;

use super::columns;
use super::fastcall::Raised;
use super::parent_set::Parents;
use super::span_calls::Call;
use crate::emit::{self, SpanBatch};

type Object = *mut ffi::PyObject;

pub(super) const DOC: &CStr = c"record_spans($self, /, name, parents, start_time, end_time, attributes=None, kind='internal')
--

Records many finished spans in one call: one for each parent, as a scheduler's step over its batch makes them.

Args:
    name: As for start_span(), of all of them.
    parents: Iterable of N Span, SpanContext or None; or a ParentSet made once with parent_set(), which is fastest. A row
        whose parent is None or unsampled is skipped.
    start_time: Integer Unix nanoseconds (see now()) for all rows, or a column of N. Anything else is counted and replaced
        by now.
    end_time: As start_time; one before the start counts as equal to it.
    attributes: Mapping, as for start_span(). A list, a tuple, or memory of numbers (array.array, numpy, memoryview, a
        tensor in the processor's memory) is a column: a value for each row, None for none. Everything else is the same
        for all rows, and converted once.
    kind: As for start_span().

Returns:
    How many were recorded: rows that are not skipped, and found room.

Raises:
    ValueError: a column that has not N values, by its name; unknown kind.
    TypeError: parents that cannot be iterated over. Values of odd types do not raise: they degrade, and are counted.

Touches no context; blocks, locks and calls the system as little as start_span(). Some tens of nanoseconds a span: numbers
cost least, in arrays less than in lists; text is copied; elements of other types may run their own code. When no row
is wanted nothing else is looked at but the lengths of lists, tuples and arrays.";

/// Records a span for each parent. Returns how many were recorded.
///
/// # Safety
/// Attached, not inside `emit::with`; all objects are alive or, where they are optional, null.
pub(super) unsafe fn record(
    call: &Call<'_>,
    parents: Object,
    start_time: Object,
    end_time: Object,
    attributes: Object,
) -> Result<usize, Raised> {
    let session = call.session;
    // SAFETY: as promised by the caller; nothing Python runs inside `emit::with`.
    unsafe {
        let parents = Parents::of(parents)?;
        let filled = emit::with(session, |thread| {
            let mut rows = thread.take_rows();
            let count = parents.put(&mut rows, thread);
            (rows, count)
        });
        let Some((mut rows, count)) = filled else { return Ok(0) };
        if rows.is_empty() {
            emit::with(session, |thread| thread.return_rows(rows));
            if count > 0 {
                let constants = call.constants.map_or(&[][..], |constants| constants.items());
                columns::check_lengths([start_time, end_time], attributes, constants, count, session)?;
            }
            return Ok(0);
        }
        let start = columns::times(&mut rows, start_time, "start_time", count, session)?;
        let end = columns::times(&mut rows, end_time, "end_time", count, session)?;
        let constants = call.constants.map_or(&[][..], |constants| {
            rows.drop_attributes(constants.dropped());
            constants.items()
        });
        columns::attributes(&mut rows, attributes, constants, count, session)?;
        let wanted = rows.len();
        let recorded = emit::with(session, |thread| {
            let batch = SpanBatch { name: call.name, kind: call.kind, scope: call.scope, start, end };
            let recorded = thread.record_rows(&batch, &mut rows);
            thread.return_rows(rows);
            recorded
        });
        Ok(recorded.unwrap_or_else(|| {
            // The session ended while arguments were converted.
            emit::drop_elsewhere(session, wanted as u64);
            0
        }))
    }
}
