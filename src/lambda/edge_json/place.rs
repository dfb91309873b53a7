//! Pure: the four places where a function can stand.

/// Where a function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LambdaPlace {
    ViewerRequest,
    OriginRequest,
    OriginResponse,
    ViewerResponse,
}

impl LambdaPlace {
    /// The word of `config.eventType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ViewerRequest => "viewer-request",
            Self::OriginRequest => "origin-request",
            Self::OriginResponse => "origin-response",
            Self::ViewerResponse => "viewer-response",
        }
    }

    /// The place that a word names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ViewerRequest, Self::OriginRequest, Self::OriginResponse, Self::ViewerResponse]
            .into_iter()
            .find(|place| place.name() == name)
    }

    pub const fn is_viewers(self) -> bool {
        matches!(self, Self::ViewerRequest | Self::ViewerResponse)
    }

    pub const fn is_request(self) -> bool {
        matches!(self, Self::ViewerRequest | Self::OriginRequest)
    }

    /// Octets of a body, of a request as the function sees it and of whatever the function makes.
    pub const fn body_max(self) -> usize {
        if self.is_viewers() { 40 << 10 } else { 1 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_places_are_read_back() {
        for name in ["viewer-request", "origin-request", "origin-response", "viewer-response"] {
            assert_eq!(LambdaPlace::from_name(name).unwrap().name(), name);
        }
        assert_eq!(LambdaPlace::from_name("edge"), None);
    }
}
