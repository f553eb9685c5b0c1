//! The server's side of HTTP/2 by hand: frames as a test wants them, right or wrong.

use std::io::{Read, Write};

use super::http_peer::Peer;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
pub(crate) const END: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields without indexing or Huffman.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of 7 bits.
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push(length as u8 | 128);
                    length >>= 7;
                }
                block.push(length as u8);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub(crate) fn headers(stream: u32, end: u8, named: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | end, stream, &fields(named))
}

/// With its prefix.
pub(crate) fn message(content: &[u8]) -> Vec<u8> {
    framed(0, content)
}

pub(crate) fn framed(compressed: u8, content: &[u8]) -> Vec<u8> {
    [&[compressed][..], &(content.len() as u32).to_be_bytes(), content].concat()
}

pub(crate) const HEAD: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

/// Headers, a message, trailers.
pub(crate) fn answer(stream: u32, content: &[u8]) -> Vec<u8> {
    [
        headers(stream, 0, HEAD),
        frame(DATA, 0, stream, &message(content)),
        headers(stream, END, &[("grpc-status", "0")]),
    ]
    .concat()
}

/// Headers and trailers in one.
pub(crate) fn trailers_only(stream: u32, code: &str, words: &str) -> Vec<u8> {
    headers(stream, END, &[HEAD, &[("grpc-status", code), ("grpc-message", words)]].concat())
}

pub(crate) fn goaway(last_stream: u32, code: u32, words: &[u8]) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&last_stream.to_be_bytes(), &code.to_be_bytes(), words].concat())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// What a server says first; `window`: what each stream may send before it hears more.
pub(crate) fn settings(window: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat())
}

/// A call as the server got it.
pub(crate) struct Call {
    pub(crate) stream: u32,
    /// DATA up to the end of the stream.
    pub(crate) data: Vec<u8>,
}

impl Peer {
    /// The beginning of a connection: a window of 1 GiB.
    pub(crate) fn open(&mut self) -> bool {
        self.open_with(&[settings(1 << 30), window_update(0, 1 << 30)].concat())
    }

    pub(crate) fn open_with(&mut self, first: &[u8]) -> bool {
        let mut preface = [0; PREFACE.len()];
        self.stream.read_exact(&mut preface).is_ok() && preface == PREFACE && self.give(first)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of this kind.
    pub(crate) fn next(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.frame()).find(|frame| frame.kind == kind)
    }

    /// All of a call, past everything else.
    pub(crate) fn call(&mut self) -> Option<Call> {
        let mut data = Vec::new();
        loop {
            let frame = self.next(DATA)?;
            data.extend_from_slice(&frame.payload);
            if frame.flags & END != 0 {
                return Some(Call { stream: frame.stream, data });
            }
        }
    }

    /// DATA on stream 1 as far as the client takes it.
    pub(crate) fn give_data(&mut self, bytes: &[u8]) -> bool {
        let mut windows = [65_535; 2];
        bytes.chunks(16_384).all(|piece| {
            while windows.iter().any(|window| *window < piece.len()) {
                let Some(update) = self.next(WINDOW_UPDATE) else {
                    return false;
                };
                windows[usize::from(update.stream != 0)] +=
                    u32::from_be_bytes(update.payload.try_into().unwrap()) as usize;
            }
            windows.iter_mut().for_each(|window| *window -= piece.len());
            self.give(&frame(DATA, 0, 1, piece))
        })
    }

    /// Opens, and answers every call with what `reply` says to its number, counted from 0, and stream.
    pub(crate) fn serve(&mut self, reply: impl Fn(usize, u32) -> Vec<u8>) {
        if self.open() {
            let mut number = 0;
            while let Some(call) = self.call()
                && self.stream.write_all(&reply(number, call.stream)).is_ok()
            {
                number += 1;
            }
        }
    }
}
