//! A body encoded on its way into the store: once per coding in the key, never per viewer.
//!
//! The work is done on the blocking pool, a block at a time, so that it never holds up a core.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{Body, BodyError, Source};
use crate::semantics::coding::Coding;

/// Octets gathered before a trip to the blocking pool is worth it.
const BLOCK: usize = 64 * 1024;

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
        })
    }

    // Hands what was gathered, or the end, to the blocking pool.
    fn send(&mut self) {
        let Some(mut encoder) = self.encoder.take() else { return };
        let octets = std::mem::replace(&mut self.waiting, Vec::with_capacity(BLOCK));
        let is_last = self.ended;
        self.work = Some(tokio::task::spawn_blocking(move || {
            let mut out = encoder.write(&octets)?;
            if is_last {
                out.extend(encoder.finish()?);
                return Ok((None, out));
            }
            Ok((Some(encoder), out))
        }));
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
            } else if self.ended || self.waiting.len() >= BLOCK {
                self.send();
            } else {
                match ready!(self.inner.poll_piece(cx)) {
                    Some(Ok(piece)) => self.waiting.extend_from_slice(&piece),
                    // A body that breaks off is not made to look whole by a proper end of its
                    // coding.
                    Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                    None => self.ended = true,
                }
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
}
