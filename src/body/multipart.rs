//! Pure: several parts of one response as multipart/byteranges (RFC 9110 §14.6).

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Body, BodyError};

/// Part heads and their octets in turn; the length is known before the first octet.
pub struct Multipart {
    parts: VecDeque<Part>,
    left: u64,
}

enum Part {
    Text(Bytes),
    Octets(Body),
}

impl Multipart {
    /// Puts parts together: for each its octets, their number, and the head lines that describe it.
    pub fn new(boundary: &str, parts: Vec<(Body, u64, String)>) -> Self {
        let mut all = VecDeque::new();
        let mut left = 0;
        let mut text = |all: &mut VecDeque<Part>, words: String| {
            left += words.len() as u64;
            all.push_back(Part::Text(words.into()));
        };
        let mut octets = 0;
        for (at, (body, len, head)) in parts.into_iter().enumerate() {
            let start = if at == 0 { "" } else { "\r\n" };
            text(&mut all, format!("{start}--{boundary}\r\n{head}\r\n"));
            all.push_back(Part::Octets(body));
            octets += len;
        }
        text(&mut all, format!("\r\n--{boundary}--\r\n"));
        Self { parts: all, left: left + octets }
    }

    /// Octets still to come.
    pub const fn remaining(&self) -> u64 {
        self.left
    }

    /// The next octets; see [`super::Source::poll_piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let bytes = match self.parts.front_mut() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => {
                    let text = std::mem::take(text);
                    self.parts.pop_front();
                    text
                }
                Some(Part::Octets(body)) => match std::task::ready!(body.poll_piece(cx)) {
                    None => {
                        self.parts.pop_front();
                        continue;
                    }
                    Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                    Some(Ok(bytes)) => bytes,
                },
            };
            self.left = self.left.saturating_sub(bytes.len() as u64);
            return Poll::Ready(Some(Ok(bytes)));
        }
    }
}
