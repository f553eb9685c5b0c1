//! Records as text for people, in three layouts. Control characters in user data are escaped.

use crate::batch::RecordRef;
use crate::config::ConsoleFormat;
use crate::encode::Lookup;

/// Appends one span, begun or finished (by `header.kind`), as one entry ending in a newline.
pub fn span(
    _record: RecordRef<'_>,
    _lookup: Lookup<'_>,
    _format: ConsoleFormat,
    _color: bool,
    _out: &mut Vec<u8>,
) {
    todo!()
}
