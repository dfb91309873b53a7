//! Streams of one direction: the control streams of both sides, and those of QPACK (RFC 9114 §6.2,
//! RFC 9204 §4.2).

use super::frame::{kind, read_head, read_integer, write, write_integer};
use super::qpack::decode::{is_fine_for_decoder, is_fine_for_encoder};
use super::*;

/// Octets of a frame of the control stream, at most.
const CONTROL_MAX: u64 = 4 * 1024;

/// The setting that says how large a head we take.
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;

/// Kinds of streams.
mod stream_kind {
    pub const CONTROL: u64 = 0x0;
    pub const PUSH: u64 = 0x1;
    pub const ENCODER: u64 = 0x2;
    pub const DECODER: u64 = 0x3;
}

/// What a stream of one direction is, once its first octets say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UniKind {
    Unknown,
    Control,
    Encoder,
    Decoder,
}

struct Uni {
    kind: UniKind,
    /// What is not whole yet.
    held: Vec<u8>,
    /// Octets of an unknown frame to step over.
    skip: u64,
}

/// Both control streams, and what the viewer's has said.
#[derive(Default)]
pub struct Control {
    ours: Option<StreamId>,
    theirs: HashMap<StreamId, Uni>,
    has_settings: bool,
    max_push: Option<u64>,
    goaway: Option<u64>,
}

impl Session {
    // Says what we take, on a stream of our own.
    pub(super) fn open_control(&mut self) -> Result<(), Fatal> {
        let Some(id) = self.quic.streams().open(Dir::Uni) else {
            return Err(Fatal(Code::StreamCreation, "no room for our control stream"));
        };
        self.control.ours = Some(id);
        let mut settings = Vec::new();
        // No dynamic table and no waiting for one are what is said by saying nothing.
        write_integer(&mut settings, MAX_FIELD_SECTION_SIZE);
        write_integer(&mut settings, self.limits.head_bytes as u64);
        let mut out = Vec::new();
        write_integer(&mut out, stream_kind::CONTROL);
        write(&mut out, kind::SETTINGS, &settings);
        self.say(&out)
    }

    // Writes to our control stream; what is ever said there is far below any window.
    fn say(&mut self, octets: &[u8]) -> Result<(), Fatal> {
        let Some(id) = self.control.ours else { return Ok(()) };
        match self.quic.send_stream(id).write(octets) {
            Ok(written) if written == octets.len() => Ok(()),
            _ => Err(Fatal(Code::ClosedCriticalStream, "our control stream has no room")),
        }
    }

    // Requests from this stream on will not be answered.
    pub(super) fn goaway(&mut self, first: u64) -> Result<(), Fatal> {
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        write_integer(&mut payload, first);
        write(&mut out, kind::GOAWAY, &payload);
        self.say(&out)
    }

    pub(super) fn read_uni(&mut self, id: StreamId) -> Result<(), Fatal> {
        let new = Uni { kind: UniKind::Unknown, held: Vec::new(), skip: 0 };
        let mut uni = self.control.theirs.remove(&id).unwrap_or(new);
        loop {
            let taken = self.take(id);
            for piece in &taken.pieces {
                let mut octets = &piece[..];
                if uni.kind == UniKind::Unknown {
                    match self.know(&mut uni, &mut octets)? {
                        KindSaid::Now => {}
                        KindSaid::NotYet => continue,
                        KindSaid::Never => {
                            let _ = self.quic.recv_stream(id).stop(varint(Code::StreamCreation));
                            return self.count_idle(1);
                        }
                    }
                }
                self.on_uni(&mut uni, octets)?;
            }
            match taken.end {
                TakenEnd::More => {}
                TakenEnd::Open => break,
                TakenEnd::Fin | TakenEnd::Reset if uni.kind != UniKind::Unknown => {
                    return Err(Fatal(Code::ClosedCriticalStream, "a stream that has to stay"));
                }
                // Ended before it said what it is.
                TakenEnd::Fin | TakenEnd::Reset | TakenEnd::Gone => return self.count_idle(1),
            }
        }
        self.control.theirs.insert(id, uni);
        Ok(())
    }

    // Reads what kind of stream it is.
    fn know(&mut self, uni: &mut Uni, octets: &mut &[u8]) -> Result<KindSaid, Fatal> {
        let said = loop {
            if let Some((said, _)) = read_integer(&uni.held) {
                break said;
            }
            let Some((first, rest)) = octets.split_first() else { return Ok(KindSaid::NotYet) };
            uni.held.push(*first);
            *octets = rest;
        };
        uni.held.clear();
        uni.kind = match said {
            stream_kind::CONTROL => UniKind::Control,
            stream_kind::ENCODER => UniKind::Encoder,
            stream_kind::DECODER => UniKind::Decoder,
            stream_kind::PUSH => {
                return Err(Fatal(Code::StreamCreation, "a push from a client"));
            }
            _ => return Ok(KindSaid::Never),
        };
        if self.control.theirs.values().any(|other| other.kind == uni.kind) {
            return Err(Fatal(Code::StreamCreation, "a stream that there may be once"));
        }
        Ok(KindSaid::Now)
    }

    fn on_uni(&mut self, uni: &mut Uni, octets: &[u8]) -> Result<(), Fatal> {
        match uni.kind {
            UniKind::Unknown => Ok(()),
            UniKind::Encoder if is_fine_for_encoder(octets) => self.count_idle(octets.len() as u32),
            UniKind::Encoder => Err(Fatal(Code::EncoderStream, "a table that there is not")),
            UniKind::Decoder if is_fine_for_decoder(&mut uni.held, octets) => {
                self.count_idle(octets.len() as u32)
            }
            UniKind::Decoder => Err(Fatal(Code::DecoderStream, "word of what was not sent")),
            UniKind::Control => self.on_control(uni, octets),
        }
    }

    fn on_control(&mut self, uni: &mut Uni, mut octets: &[u8]) -> Result<(), Fatal> {
        loop {
            let stepped = usize::try_from(uni.skip).unwrap_or(usize::MAX).min(octets.len());
            octets = &octets[stepped..];
            uni.skip -= stepped as u64;
            if octets.is_empty() {
                return Ok(());
            }
            // One octet at a time: little is ever said here.
            uni.held.push(octets[0]);
            octets = &octets[1..];
            let Some((kind, len, head)) = read_head(&uni.held) else { continue };
            if uni.held.len() == head {
                self.check_control(kind, len)?;
                if !is_known(kind) {
                    uni.held.clear();
                    uni.skip = len;
                    self.count_idle(1)?;
                    continue;
                }
            }
            if (uni.held.len() - head) as u64 == len {
                let frame = std::mem::take(&mut uni.held);
                self.on_control_frame(kind, &frame[head..])?;
            }
        }
    }

    // Whether a frame may stand here at all.
    fn check_control(&self, kind: u64, len: u64) -> Result<(), Fatal> {
        if !self.control.has_settings && kind != kind::SETTINGS {
            return Err(Fatal(Code::MissingSettings, "a control stream without settings"));
        }
        if matches!(kind, kind::DATA | kind::HEADERS | kind::PUSH_PROMISE)
            || kind::is_of_h2(kind)
            || kind == kind::SETTINGS && self.control.has_settings
        {
            return Err(Fatal(Code::FrameUnexpected, "a frame that the control stream has not"));
        }
        if is_known(kind) && len > CONTROL_MAX {
            return Err(Fatal(Code::ExcessiveLoad, "a frame beyond all bounds"));
        }
        Ok(())
    }

    fn on_control_frame(&mut self, kind: u64, payload: &[u8]) -> Result<(), Fatal> {
        if kind == kind::SETTINGS {
            self.control.has_settings = true;
            return frame::check_settings(payload);
        }
        self.count_idle(1)?;
        let id = match read_integer(payload) {
            Some((id, len)) if len == payload.len() => id,
            _ => return Err(Fatal(Code::Frame, "a frame that is not one number")),
        };
        match kind {
            kind::GOAWAY if self.control.goaway.is_some_and(|before| id > before) => {
                Err(Fatal(Code::Id, "a GOAWAY that takes back another"))
            }
            // The viewer wants no pushes, and there are none.
            kind::GOAWAY => {
                self.control.goaway = Some(id);
                Ok(())
            }
            kind::MAX_PUSH_ID if self.control.max_push.is_some_and(|before| id < before) => {
                Err(Fatal(Code::Id, "a MAX_PUSH_ID below another"))
            }
            kind::MAX_PUSH_ID => {
                self.control.max_push = Some(id);
                Ok(())
            }
            _ => Err(Fatal(Code::Id, "a push that was never promised")),
        }
    }
}

/// What a stream's first octets say of its kind.
enum KindSaid {
    Now,
    NotYet,
    /// A kind that is not spoken here.
    Never,
}

const fn is_known(kind: u64) -> bool {
    matches!(kind, kind::SETTINGS | kind::GOAWAY | kind::MAX_PUSH_ID | kind::CANCEL_PUSH)
}
