//! Interim responses of origins, and where they go.

use std::sync::Arc;

use crate::semantics::fields::FieldSection;

/// An interim response of an origin (RFC 9110 §15.2): passed on as it comes, never stored.
pub type Interim = (u16, FieldSection);

/// Where interim responses go; one whose viewer takes none any more is dropped.
pub type InterimSink = Arc<dyn TakesInterims>;

/// Takes interim responses on their way to a viewer.
pub trait TakesInterims: Send + Sync {
    /// Never waits; what is too much is dropped.
    fn take(&self, interim: Interim);
}
