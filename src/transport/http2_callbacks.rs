//! What nghttp2 calls while a session works on bytes: the callbacks note in the session's [`State`] what the peer did, and hand
//! over what the call sends. Each runs inside a method of [`super::http2::Session`], allocates, never waits; a panic ends
//! the session.

#![expect(unsafe_code, reason = "a C library calls")]

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use libnghttp2_sys as sys;

use super::http2_stream::{REFUSED_STREAM, Stream, error_name};
use super::one_line;

const MAX_DEBUG_CHARS: usize = 100;

/// What the callbacks know.
#[derive(Default)]
pub(super) struct State {
    pub(super) stream: Option<Stream>,
    /// The peer takes no new calls: why, in its words.
    pub(super) goaway: Option<String>,
    /// Why this side has ended the session.
    pub(super) fault: Option<String>,
}

/// Puts all but [`read_body`] into a table.
///
/// # Safety
/// It is alive. A session that is made with it has a [`State`] as its user data.
pub(super) unsafe fn set(table: *mut sys::nghttp2_session_callbacks) {
    // SAFETY: alive; each is stored where its type belongs.
    unsafe {
        sys::nghttp2_session_callbacks_set_on_header_callback(table, Some(on_header));
        sys::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, Some(on_data));
        sys::nghttp2_session_callbacks_set_on_frame_recv_callback(table, Some(on_frame));
        sys::nghttp2_session_callbacks_set_on_frame_send_callback(table, Some(on_sent));
        sys::nghttp2_session_callbacks_set_on_frame_not_send_callback(table, Some(on_not_sent));
        sys::nghttp2_session_callbacks_set_on_stream_close_callback(table, Some(on_close));
        sys::nghttp2_session_callbacks_set_error_callback2(table, Some(on_error));
    }
}

/// Runs a callback's work on the state. A panic, a bug of ours, ends the session and goes no further.
///
/// # Safety
/// `user_data` is the session's state, to which no other reference lives.
unsafe fn with_state(user_data: *mut c_void, work: impl FnOnce(&mut State) -> c_int) -> c_int {
    // SAFETY: the caller's promise.
    let state = unsafe { &mut *user_data.cast::<State>() };
    catch_unwind(AssertUnwindSafe(|| work(state))).unwrap_or(sys::NGHTTP2_ERR_CALLBACK_FAILURE)
}

impl State {
    fn current(&mut self, id: i32) -> Option<&mut Stream> {
        self.stream.as_mut().filter(|stream| stream.id == id)
    }
}

/// The limit that an answer exceeds ends the session.
fn unless_beyond(within: bool) -> c_int {
    if within { 0 } else { sys::NGHTTP2_ERR_CALLBACK_FAILURE }
}

/// # Safety
/// `bytes` points to `count` of them, or `count` is 0.
unsafe fn slice<'a>(bytes: *const u8, count: usize) -> &'a [u8] {
    if count == 0 {
        // nghttp2's pointer can be null then.
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(bytes, count) }
}

unsafe extern "C" fn on_header(
    _: *mut sys::nghttp2_session,
    frame: *const sys::nghttp2_frame,
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
    _: u8,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a frame, whose header every kind has, name and value, valid until this returns, and the state.
    unsafe {
        let (header, name, value) = ((*frame).hd, slice(name, name_len), slice(value, value_len));
        with_state(user_data, |state| {
            // Those of a pushed request come on the same stream.
            let is_head = u32::from(header.type_) == sys::NGHTTP2_HEADERS;
            let stream = state.current(header.stream_id).filter(|_| is_head);
            unless_beyond(stream.is_none_or(|stream| stream.take_header(name, value)))
        })
    }
}

unsafe extern "C" fn on_data(
    _: *mut sys::nghttp2_session,
    _: u8,
    id: i32,
    data: *const u8,
    len: usize,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives so many bytes, valid until this returns, and the state.
    unsafe {
        let chunk = slice(data, len);
        with_state(user_data, |state| {
            unless_beyond(state.current(id).is_none_or(|stream| stream.take_data(chunk)))
        })
    }
}

unsafe extern "C" fn on_frame(
    _: *mut sys::nghttp2_session,
    frame: *const sys::nghttp2_frame,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a frame, of the kind that its header names, and the state. Debug data is as long as it says.
    unsafe {
        let header = (*frame).hd;
        with_state(user_data, |state| {
            match u32::from(header.type_) {
                sys::NGHTTP2_GOAWAY => {
                    let goaway = &(*frame).goaway;
                    let words = slice(goaway.opaque_data, goaway.opaque_data_len);
                    let words = one_line(&String::from_utf8_lossy(words), MAX_DEBUG_CHARS);
                    let separator = if words.is_empty() { "" } else { ": " };
                    state.goaway =
                        Some(format!("GOAWAY {}{separator}{words}", error_name(goaway.error_code)));
                }
                sys::NGHTTP2_HEADERS | sys::NGHTTP2_DATA
                    if u32::from(header.flags) & sys::NGHTTP2_FLAG_END_STREAM != 0 =>
                {
                    if let Some(stream) = state.current(header.stream_id) {
                        stream.ended = true;
                    }
                }
                _ => {}
            }
            0
        })
    }
}

unsafe extern "C" fn on_sent(
    _: *mut sys::nghttp2_session,
    frame: *const sys::nghttp2_frame,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a frame, of the kind that its header names, and the state.
    unsafe {
        let header = (*frame).hd;
        with_state(user_data, |state| {
            if u32::from(header.type_) == sys::NGHTTP2_GOAWAY {
                let code = (*frame).goaway.error_code;
                state.fault.get_or_insert_with(|| format!("the server broke HTTP/2: {}", error_name(code)));
            }
            0
        })
    }
}

unsafe extern "C" fn on_not_sent(
    _: *mut sys::nghttp2_session,
    frame: *const sys::nghttp2_frame,
    _: c_int,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a frame, whose header every kind has, and the state.
    unsafe {
        let header = (*frame).hd;
        with_state(user_data, |state| {
            let is_head = u32::from(header.type_) == sys::NGHTTP2_HEADERS;
            if let Some(stream) = state.current(header.stream_id).filter(|_| is_head) {
                stream.reset = Some(REFUSED_STREAM);
            }
            0
        })
    }
}

unsafe extern "C" fn on_close(
    _: *mut sys::nghttp2_session,
    id: i32,
    error_code: u32,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives the state.
    unsafe {
        with_state(user_data, |state| {
            if let Some(stream) = state.current(id).filter(|stream| !stream.ended) {
                stream.reset.get_or_insert(error_code);
            }
            0
        })
    }
}

unsafe extern "C" fn on_error(
    _: *mut sys::nghttp2_session,
    code: c_int,
    _: *const c_char,
    _: usize,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives the state.
    unsafe {
        with_state(user_data, |state| {
            if code == sys::NGHTTP2_ERR_SETTINGS_EXPECTED {
                state.fault = Some("the server does not speak HTTP/2 on this port".to_owned());
            }
            0
        })
    }
}

/// Fills a DATA frame from where the call's content lies.
pub(super) unsafe extern "C" fn read_body(
    _: *mut sys::nghttp2_session,
    id: i32,
    buffer: *mut u8,
    length: usize,
    flags: *mut u32,
    _: *mut sys::nghttp2_data_source,
    user_data: *mut c_void,
) -> sys::nghttp2_ssize {
    let mut filled = 0;
    let fill = |state: &mut State| {
        let Some(stream) = state.current(id) else {
            // Given up: the reset that says so is on its way.
            return sys::NGHTTP2_ERR_DEFERRED;
        };
        while filled < length && !stream.all_sent() {
            let piece = stream.next_piece(length - filled);
            // SAFETY: the buffer has room for `length` bytes, of which `filled` are used, and is none of ours.
            unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), buffer.add(filled), piece.len()) };
            filled += piece.len();
        }
        if stream.all_sent() {
            // SAFETY: nghttp2 gives flags to set.
            unsafe { *flags |= sys::NGHTTP2_DATA_FLAG_EOF };
        }
        0
    };
    // SAFETY: nghttp2 gives the state.
    match unsafe { with_state(user_data, fill) } {
        0 => filled as sys::nghttp2_ssize,
        error => error as sys::nghttp2_ssize,
    }
}
