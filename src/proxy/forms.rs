//! Forms whose fields are encrypted on their way to an origin: held whole, because what is refused
//! is refused before the origin hears of it.

use super::exchange::Exchange;
use super::stop::Stop;
use super::{Proxy, Tally};
use crate::access::form::{self, FORM_MAX, Plan};
use crate::body::Body;
use crate::message::encryption::{Encryption, EncryptionStatus};
use crate::message::failure::{Failure, FailureKind};
use crate::message::refusal::Refusal;
use crate::message::request::RequestHead;

impl Proxy {
    /// The body as the origin may have it. A request without one is left as it is.
    pub(super) async fn encrypt_form(
        &self,
        exchange: &Exchange,
        head: &RequestHead<'_>,
        body: Body,
    ) -> Result<Body, Stop> {
        if body.length() == Some(0) {
            return Ok(body);
        }
        let Some(plan) = form::plan(&exchange.routed(head)) else { return Ok(body) };
        // The record tells of the request that the viewer sent, whatever code made of it.
        let noted = exchange.shaped.as_ref().map_or(&exchange.request, |shaped| &shaped.viewer);
        let note = |status, fields| {
            noted.notes.note_encryption(Encryption { status, fields });
        };
        let done = match plan {
            Ok(Plan::Forward(status)) => {
                note(status, 0);
                return Ok(body);
            }
            Ok(Plan::Encrypt(profile, suite)) => {
                whole(body).await?.and_then(|whole| form::encrypted(&profile, suite, &whole))
            }
            Err(status) => Err(status),
        };
        match done {
            Ok((form, fields)) => {
                note(EncryptionStatus::Processed, fields);
                Tally::add(&self.edge.tally.forms_encrypted);
                Ok(Body::Bytes(form.into()))
            }
            Err(status) => {
                note(status, 0);
                Err(refused(status))
            }
        }
    }
}

fn refused(status: EncryptionStatus) -> Stop {
    match status {
        EncryptionStatus::ServerError => {
            Stop::Failed(Failure::internal("the fields of a form could not be encrypted"))
        }
        status => Stop::Refused(Refusal::Form(status)),
    }
}

// All of a body, or that it is too long. One that breaks off goes no further.
async fn whole(mut body: Body) -> Result<Result<Vec<u8>, EncryptionStatus>, Failure> {
    let too_long = Err(EncryptionStatus::RequestLengthLimitClientError);
    if body.length().is_some_and(|length| length > FORM_MAX as u64) {
        return Ok(too_long);
    }
    let mut read = Vec::new();
    while let Some(piece) = body.piece().await {
        let piece =
            piece.map_err(|error| Failure::new(FailureKind::RequestBroken, error.to_string()))?;
        if read.len() + piece.len() > FORM_MAX {
            return Ok(too_long);
        }
        read.extend_from_slice(&piece);
    }
    Ok(Ok(read))
}
