//! A body encoded on its way into the store: once per coding in the key, never per viewer.
//!
//! The work is done on the blocking pool, a block at a time, so that it never holds up a core. Where
//! the origin falls silent in mid-block, what has come so far goes on: its reader may be waiting for
//! it.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::{Body, BodyError, Source};
use crate::semantics::coding::Coding;

/// Octets gathered before a trip to the blocking pool is worth it.
const BLOCK: usize = 64 * 1024;
/// How long the origin may be silent before what it has said so far goes on. Each time costs the
/// encoded body a few octets.
const SILENCE: Duration = Duration::from_millis(100);

/// What an encoder does once it has been given the next octets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Holds back what it likes to, for the sake of size.
    Hold,
    /// Gives out all that it holds.
    Flush,
    /// The same, and ends the coding.
    Finish,
}

enum Encoder {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    // Levels at which the sizes are near the best and the time is not: everything is encoded once.
    fn new(coding: Coding) -> std::io::Result<Self> {
        Ok(match coding {
            Coding::Brotli => {
                Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 32 * 1024, 5, 22)))
            }
            Coding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6)))
            }
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 6)?),
        })
    }

    fn write(&mut self, octets: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => {
                encoder.write_all(octets).map(|()| std::mem::take(encoder.get_mut()))
            }
            Self::Gzip(encoder) => {
                encoder.write_all(octets).map(|()| std::mem::take(encoder.get_mut()))
            }
            Self::Zstd(encoder) => {
                encoder.write_all(octets).map(|()| std::mem::take(encoder.get_mut()))
            }
        }
    }

    // What was held back, so that it can be decoded as far as it goes.
    fn flush(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => encoder.flush().map(|()| std::mem::take(encoder.get_mut())),
            Self::Gzip(encoder) => encoder.flush().map(|()| std::mem::take(encoder.get_mut())),
            Self::Zstd(encoder) => encoder.flush().map(|()| std::mem::take(encoder.get_mut())),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

type Worked = std::io::Result<(Option<Encoder>, Vec<u8>)>;

/// A body behind an encoder.
pub struct Compressed {
    inner: Body,
    waiting: Vec<u8>,
    encoder: Option<Encoder>,
    work: Option<JoinHandle<Worked>>,
    ended: bool,
    /// Octets came that have not all gone out.
    holds: bool,
    /// When the silence has lasted long enough; only while there is one, and something is held.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Compressed {
    /// Encodes `inner`; the result has no known length.
    pub fn new(inner: Body, coding: Coding) -> std::io::Result<Self> {
        Ok(Self {
            inner,
            waiting: Vec::with_capacity(BLOCK),
            encoder: Some(Encoder::new(coding)?),
            work: None,
            ended: false,
            holds: false,
            silence: None,
        })
    }

    // Hands what was gathered to the blocking pool.
    fn send(&mut self, then: Then) {
        let Some(mut encoder) = self.encoder.take() else { return };
        let octets = std::mem::replace(&mut self.waiting, Vec::with_capacity(BLOCK));
        self.holds = then == Then::Hold;
        self.silence = None;
        self.work = Some(tokio::task::spawn_blocking(move || {
            let mut out = encoder.write(&octets)?;
            match then {
                Then::Hold => {}
                Then::Flush => out.extend(encoder.flush()?),
                Then::Finish => {
                    out.extend(encoder.finish()?);
                    return Ok((None, out));
                }
            }
            Ok((Some(encoder), out))
        }));
    }

    // Takes the next piece, or the end; ready without either once it is time to flush.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self.inner.poll_piece(cx) {
            Poll::Ready(Some(Ok(piece))) => {
                self.waiting.extend_from_slice(&piece);
                self.holds = true;
                self.silence = None;
            }
            // A body that breaks off is not made to look whole by a proper end of its coding.
            Poll::Ready(Some(Err(why))) => return Poll::Ready(Err(why)),
            Poll::Ready(None) => self.ended = true,
            Poll::Pending if self.holds => {
                let silence =
                    self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE)));
                ready!(silence.as_mut().poll(cx));
                self.send(Then::Flush);
            }
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

impl Source for Compressed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(work) = &mut self.work {
                let done = ready!(Pin::new(work).poll(cx));
                self.work = None;
                match done {
                    Ok(Ok((encoder, out))) => {
                        self.encoder = encoder;
                        if !out.is_empty() {
                            return Poll::Ready(Some(Ok(out.into())));
                        }
                    }
                    Ok(Err(_)) | Err(_) => return Poll::Ready(Some(Err(BodyError::Abandoned))),
                }
            } else if self.encoder.is_none() {
                return Poll::Ready(None);
            } else if self.ended {
                self.send(Then::Finish);
            } else if self.waiting.len() >= BLOCK {
                self.send(Then::Hold);
            } else if let Err(why) = ready!(self.poll_inner(cx)) {
                return Poll::Ready(Some(Err(why)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn encode(octets: &[u8], coding: Coding) -> Vec<u8> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut body = Body::Wire(
                Box::new(Compressed::new(Body::Bytes(octets.to_vec().into()), coding).unwrap()),
                None,
            );
            let mut all = Vec::new();
            while let Some(piece) = body.piece().await {
                all.extend_from_slice(&piece.unwrap());
            }
            all
        })
    }

    #[test]
    fn what_is_encoded_comes_back() {
        for size in [0usize, 1, 1000, 300_000] {
            let octets: Vec<u8> = (0..size).map(|at| (at * at % 253) as u8).collect();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&encode(&octets, Coding::Gzip)[..])
                .read_to_end(&mut back)
                .unwrap();
            assert_eq!(back, octets);
            back.clear();
            brotli::Decompressor::new(&encode(&octets, Coding::Brotli)[..], 4096)
                .read_to_end(&mut back)
                .unwrap();
            assert_eq!(back, octets);
            assert_eq!(
                zstd::stream::decode_all(&encode(&octets, Coding::Zstd)[..]).unwrap(),
                octets
            );
        }
    }

    struct Told(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

    impl Source for Told {
        fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(Ok))
        }
    }

    // What a reader can make of the front of an encoded body.
    fn decode_front(octets: &[u8], coding: Coding) -> Vec<u8> {
        let mut decoder: Box<dyn Read + '_> = match coding {
            Coding::Brotli => Box::new(brotli::Decompressor::new(octets, 4096)),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(octets)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(octets).unwrap()),
        };
        let mut all = Vec::new();
        // The error says that it is not whole.
        let _ = decoder.read_to_end(&mut all);
        all
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_does_not_wait_for_what_has_not_come() {
        for coding in [Coding::Brotli, Coding::Gzip, Coding::Zstd] {
            let (tell, told) = tokio::sync::mpsc::unbounded_channel();
            let inner = Body::Wire(Box::new(Told(told)), None);
            let mut body = Body::Wire(Box::new(Compressed::new(inner, coding).unwrap()), None);
            let (mut said, mut came) = (Vec::new(), Vec::new());
            for size in [10, 5_000, 3 * BLOCK + 1, 1] {
                let octets: Vec<u8> = (0..size).map(|at| (at * at % 253) as u8).collect();
                said.extend_from_slice(&octets);
                tell.send(octets.into()).unwrap();
                while decode_front(&came, coding).len() < said.len() {
                    came.extend_from_slice(&body.piece().await.unwrap().unwrap());
                }
                assert_eq!(decode_front(&came, coding), said, "{coding:?}");
            }
            drop(tell);
            while let Some(piece) = body.piece().await {
                came.extend_from_slice(&piece.unwrap());
            }
            assert_eq!(decode_front(&came, coding), said, "{coding:?}");
        }
    }
}
