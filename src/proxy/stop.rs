//! Pure: where a request stops before it has an answer like any other. With it, `?` reads as "or
//! stop here".

use crate::message::failure::Failure;
use crate::message::refusal::Refusal;
use crate::message::response::ViewerResponse;

/// Why a request goes no further.
pub(super) enum Stop {
    /// The viewer may not have what it asks for.
    Refused(Refusal),
    /// There is an answer, which goes out as it is.
    Answered(Box<ViewerResponse>),
    /// Code at the edge made the answer, or failed to; it goes the way of all others.
    Made(Box<ViewerResponse>),
    /// No hop (parent, origin, directory) gave an answer that can be sent.
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
