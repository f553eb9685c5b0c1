//! The client's side of one HTTP/2 connection without a socket, by nghttp2: bytes in, bytes out, one call at a time.
//! Whatever the peer sends, a session holds one answer within [`Stream`]'s limits, answers a bounded number of PINGs and
//! SETTINGS at once, takes no pushed streams, and never panics. Allocates; never waits. All of nghttp2 is called from here
//! and nowhere else.

#![expect(unsafe_code, reason = "nghttp2 is a C library that calls back")]

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libnghttp2_sys as sys;

use super::http2_stream::{CANCEL, MAX_HEADER_BYTES, REFUSED_STREAM, Stream, error_name};
use super::{Failure, one_line};

/// Answers to PING and SETTINGS that the peer may leave unread.
const MAX_UNREAD_ACKS: usize = 100;
const MAX_DEBUG_CHARS: usize = 100;
/// One field of a request's head.
pub(super) struct Field<'a> {
    /// Lower case.
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Neither this connection's compression table nor a proxy's may remember it.
    pub(super) secret: bool,
}

/// What the callbacks know.
#[derive(Default)]
struct State {
    stream: Option<Stream>,
    /// The peer takes no new calls: why, in its words.
    goaway: Option<String>,
    /// Why this side has ended the session.
    fault: Option<String>,
}

/// See the module.
pub(super) struct Session {
    raw: NonNull<sys::nghttp2_session>,
    /// Owned; the callbacks get the same pointer. No reference into it lives across a call of nghttp2.
    state: NonNull<State>,
}

// SAFETY: nghttp2 keeps no thread-local state, and both pointers are this value's alone.
unsafe impl Send for Session {}

impl Session {
    /// # Errors
    /// Out of memory.
    pub(super) fn new() -> Result<Self, Failure> {
        let state = NonNull::from(Box::leak(Box::<State>::default()));
        let Some(raw) = new_session(state) else {
            // SAFETY: leaked above, and no session has the pointer.
            drop(unsafe { Box::from_raw(state.as_ptr()) });
            return Err(out_of_memory());
        };
        let session = Self { raw, state };
        let entry = |id: u32, value| sys::nghttp2_settings_entry { settings_id: id as i32, value };
        let settings = [
            entry(sys::NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            entry(sys::NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES as u32),
        ];
        // SAFETY: a live session; the entries are copied.
        match unsafe { sys::nghttp2_submit_settings(raw.as_ptr(), 0, settings.as_ptr(), settings.len()) } {
            0 => Ok(session),
            _ => Err(out_of_memory()),
        }
    }

    /// Starts a call, giving up one under way: a request with `front` and `body` as its content.
    ///
    /// # Errors
    /// This session takes no more calls.
    pub(super) fn submit(
        &mut self,
        fields: &[Field<'_>],
        front: [u8; 5],
        body: Arc<[u8]>,
    ) -> Result<(), Failure> {
        self.give_up();
        let fields: Vec<_> = fields.iter().map(name_value).collect();
        let provider = sys::nghttp2_data_provider2 {
            source: sys::nghttp2_data_source { ptr: ptr::null_mut() },
            read_callback: Some(read_body),
        };
        // SAFETY: a live session. Fields and provider are copied; only the callback reads the content, from the state.
        let id = unsafe {
            sys::nghttp2_submit_request2(
                self.raw.as_ptr(),
                ptr::null(),
                fields.as_ptr(),
                fields.len(),
                &raw const provider,
                ptr::null_mut(),
            )
        };
        if id < 0 {
            return Err(Failure::Io(error_text(id)));
        }
        self.state_mut().stream = Some(Stream::new(id, front, body));
        Ok(())
    }

    /// The call that was submitted last, unless it was given up.
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.state().stream.as_ref()
    }

    /// Ends the call: what has come of it. A peer that is still at it hears that we are not.
    pub(super) fn give_up(&mut self) -> Option<Stream> {
        let stream = self.state_mut().stream.take()?;
        if stream.reset.is_none() && !(stream.ended && stream.all_sent()) {
            // SAFETY: a live session. It forgets streams that it does not know.
            unsafe { sys::nghttp2_submit_rst_stream(self.raw.as_ptr(), 0, stream.id, CANCEL) };
        }
        Some(stream)
    }

    /// Works on bytes from the peer.
    ///
    /// # Errors
    /// The peer broke the protocol or went beyond a limit so far that the session is over.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // SAFETY: a live session; `bytes` are only read, and not kept.
        let used = unsafe { sys::nghttp2_session_mem_recv2(self.raw.as_ptr(), bytes.as_ptr(), bytes.len()) };
        if used >= 0 {
            return Ok(());
        }
        let excess = self.stream().and_then(|stream| stream.excess);
        Err(excess.map_or_else(|| Failure::Protocol(error_text(used as i32)), Failure::Oversized))
    }

    /// Appends to `out` what is to be sent, until it holds `enough` or there is no more.
    ///
    /// # Errors
    /// The session is over: this side ended it for what the peer did, or there was no memory.
    pub(super) fn take_output(&mut self, out: &mut Vec<u8>, enough: usize) -> Result<(), Failure> {
        while out.len() < enough {
            let mut data = ptr::null();
            // SAFETY: a live session, which sets `data` to so many bytes of its own, valid until the next call.
            let piece = unsafe {
                match sys::nghttp2_session_mem_send2(self.raw.as_ptr(), &raw mut data) {
                    0 => break,
                    count if count > 0 => std::slice::from_raw_parts(data, count as usize),
                    error => return Err(Failure::Io(error_text(error as i32))),
                }
            };
            out.extend_from_slice(piece);
        }
        Ok(())
    }

    /// There is something to send.
    pub(super) fn has_output(&self) -> bool {
        // SAFETY: a live session, which is only looked at.
        unsafe { sys::nghttp2_session_want_write(self.raw.as_ptr()) != 0 }
    }

    /// Another call can begin on this connection.
    pub(super) fn takes_calls(&self) -> bool {
        // SAFETY: a live session, which is only looked at.
        unsafe { sys::nghttp2_session_check_request_allowed(self.raw.as_ptr()) != 0 }
    }

    /// Why this side has ended the session, if it has.
    pub(super) fn fault(&self) -> Option<&str> {
        self.state().fault.as_deref()
    }

    /// Why the peer takes no new calls, if it said so. One line, not free of secrets.
    pub(super) fn goaway(&self) -> Option<&str> {
        self.state().goaway.as_deref()
    }

    fn state(&self) -> &State {
        // SAFETY: alive as long as the session; the callbacks, which write, run only inside methods that borrow mutably.
        unsafe { self.state.as_ref() }
    }

    fn state_mut(&mut self) -> &mut State {
        // SAFETY: as above; `&mut self` makes it the only reference.
        unsafe { self.state.as_mut() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: both are this value's own, freed once; the session first, since it has the other's pointer.
        unsafe {
            sys::nghttp2_session_del(self.raw.as_ptr());
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

fn new_session(state: NonNull<State>) -> Option<NonNull<sys::nghttp2_session>> {
    let (mut callbacks, mut options, mut raw) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: callbacks and options are used where they could be made, copied into the session, and freed once (freeing
    // null does nothing). The callbacks' user data is `state`, which outlives the session.
    unsafe {
        if sys::nghttp2_session_callbacks_new(&raw mut callbacks) == 0
            && sys::nghttp2_option_new(&raw mut options) == 0
        {
            sys::nghttp2_session_callbacks_set_on_header_callback(callbacks, Some(on_header));
            sys::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Some(on_data));
            sys::nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Some(on_frame));
            sys::nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Some(on_sent));
            sys::nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, Some(on_not_sent));
            sys::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Some(on_close));
            sys::nghttp2_session_callbacks_set_error_callback2(callbacks, Some(on_error));
            sys::nghttp2_option_set_max_outbound_ack(options, MAX_UNREAD_ACKS);
            let user_data = state.as_ptr().cast();
            sys::nghttp2_session_client_new2(&raw mut raw, callbacks, user_data, options);
        }
        sys::nghttp2_option_del(options);
        sys::nghttp2_session_callbacks_del(callbacks);
    }
    NonNull::new(raw)
}

fn name_value(field: &Field<'_>) -> sys::nghttp2_nv {
    let flags = if field.secret { sys::NGHTTP2_NV_FLAG_NO_INDEX } else { sys::NGHTTP2_NV_FLAG_NONE };
    sys::nghttp2_nv {
        name: field.name.as_ptr().cast_mut(),
        value: field.value.as_ptr().cast_mut(),
        namelen: field.name.len(),
        valuelen: field.value.len(),
        flags: flags as u8,
    }
}

fn out_of_memory() -> Failure {
    Failure::Io("no memory for an HTTP/2 session".to_owned())
}

fn error_text(code: i32) -> String {
    // SAFETY: for any code a static string that ends with a zero byte.
    let text = unsafe { std::ffi::CStr::from_ptr(sys::nghttp2_strerror(code)) };
    format!("HTTP/2: {}", text.to_string_lossy())
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
unsafe extern "C" fn read_body(
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
