//! The client's side of one HTTP/2 connection without a socket, by nghttp2: bytes in, bytes out, one call at a time.
//! Whatever the peer sends, a session holds one answer within [`Stream`]'s limits, answers a bounded number of PINGs and
//! SETTINGS at once, takes no pushed streams, and never panics. Allocates; never waits. All of nghttp2 is called from here
//! and nowhere else; it calls back in [`super::http2_callbacks`].

#![expect(unsafe_code, reason = "nghttp2 is a C library")]

use std::ptr::{self, NonNull};
use std::sync::Arc;

use libnghttp2_sys as sys;

use super::Failure;
use super::http2_callbacks::{self as callbacks, State};
use super::http2_stream::{CANCEL, MAX_HEADER_BYTES, Stream};

/// Answers to PING and SETTINGS that the peer may leave unread.
const MAX_UNREAD_ACKS: usize = 100;

/// One field of a request's head.
pub(super) struct Field<'a> {
    /// Lower case.
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Neither this connection's compression table nor a proxy's may remember it.
    pub(super) secret: bool,
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
            read_callback: Some(callbacks::read_body),
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
    let (mut table, mut options, mut raw) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: table of callbacks and options are used where they could be made, copied into the session, and freed once (freeing
    // null does nothing). The callbacks' user data is `state`, which outlives the session.
    unsafe {
        if sys::nghttp2_session_callbacks_new(&raw mut table) == 0
            && sys::nghttp2_option_new(&raw mut options) == 0
        {
            callbacks::set(table);
            sys::nghttp2_option_set_max_outbound_ack(options, MAX_UNREAD_ACKS);
            let user_data = state.as_ptr().cast();
            sys::nghttp2_session_client_new2(&raw mut raw, table, user_data, options);
        }
        sys::nghttp2_option_del(options);
        sys::nghttp2_session_callbacks_del(table);
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
