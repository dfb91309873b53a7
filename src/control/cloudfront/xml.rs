//! Pure: what the API answers, as XML; all required elements, because some of the AWS tools insist
//! on them.

use quick_xml::escape::escape;

use crate::cache::invalidations::Matcher;
use crate::cloudfront::model::FAULTS;
use crate::invalidation::log::InvalidationRecord;
use crate::semantics::time::{Timestamp, format_rfc3339};

/// What each document begins with.
pub const HEAD: &str = "<?xml version=\"1.0\"?>\n";
/// The namespace of all elements.
pub const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

/// The namespace of another version.
pub fn namespace(version: &str) -> String {
    format!("http://cloudfront.amazonaws.com/doc/{version}/")
}

/// Something wrong with a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub code: &'static str,
    message: String,
}

impl Fault {
    pub fn new(status: u16, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_string() }
    }

    /// What is wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A fault of the API's own, with the status that it has there.
    pub fn of(code: &'static str, message: &str) -> Self {
        let status = FAULTS.iter().find(|(known, _)| *known == code).map_or(400, |(_, at)| *at);
        Self::new(status, code, message)
    }

    /// As AWS says it.
    pub fn xml(&self, request: &str) -> String {
        let who = if self.status >= 500 { "Receiver" } else { "Sender" };
        let (code, message) = (self.code, escape(self.message.as_str()));
        format!(
            "{HEAD}<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{who}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>{request}</RequestId></ErrorResponse>"
        )
    }
}

/// An answer that is no fault.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    /// Empty where there is nothing to say (204).
    pub xml: String,
    pub location: Option<String>,
    pub etag: Option<String>,
    pub form: Form,
    /// What the text names the request by, if it does.
    pub request: Option<String>,
}

/// What the text of an answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Xml,
    /// XML after an update of a function, whose ETag AWS sends under the name `ETtag`, and where
    /// some clients look for it.
    Misspelt,
    /// The code of a function, as it is.
    Code,
}

/// One page of a list.
pub struct Page<'p> {
    pub marker: &'p str,
    pub most: usize,
    pub is_truncated: bool,
    /// Each with its status.
    pub items: &'p [(&'p InvalidationRecord, &'p str)],
}

/// An Invalidation.
pub fn invalidation(record: &InvalidationRecord, status: &str) -> String {
    // What did not come by CloudFront's API has no batch; it is shown as if it had.
    let (paths, reference) = match &record.batch {
        Some(batch) => (batch.paths.clone(), batch.reference.clone()),
        None => (record.matchers.iter().map(Matcher::to_string).collect(), record.id.clone()),
    };
    let items: String =
        paths.iter().map(|path| format!("<Path>{}</Path>", escape(path.as_str()))).collect();
    let items = if paths.is_empty() { items } else { format!("<Items>{items}</Items>") };
    let (id, at, count) = (&record.id, format_rfc3339(Timestamp(record.at)), paths.len());
    format!(
        "{HEAD}<Invalidation xmlns=\"{NAMESPACE}\"><Id>{id}</Id><Status>{status}</Status><CreateTime>{at}</CreateTime><InvalidationBatch>\
         <Paths><Quantity>{count}</Quantity>{items}</Paths><CallerReference>{}</CallerReference></InvalidationBatch></Invalidation>",
        escape(reference.as_str())
    )
}

/// An InvalidationList.
pub fn list(page: &Page<'_>) -> String {
    let one = |(record, status): &(&InvalidationRecord, &str)| {
        let at = format_rfc3339(Timestamp(record.at));
        format!(
            "<InvalidationSummary><Id>{}</Id><CreateTime>{at}</CreateTime><Status>{status}</Status></InvalidationSummary>",
            record.id
        )
    };
    let items: String = page.items.iter().map(one).collect();
    let items = if items.is_empty() { items } else { format!("<Items>{items}</Items>") };
    let next = match page.items.last().filter(|_| page.is_truncated) {
        Some((record, _)) => format!("<NextMarker>{}</NextMarker>", record.id),
        None => String::new(),
    };
    format!(
        "{HEAD}<InvalidationList xmlns=\"{NAMESPACE}\"><Marker>{}</Marker>{next}<MaxItems>{}</MaxItems><IsTruncated>{}</IsTruncated>\
         <Quantity>{}</Quantity>{items}</InvalidationList>",
        escape(page.marker),
        page.most,
        page.is_truncated,
        page.items.len()
    )
}
