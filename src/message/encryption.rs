//! What became of the fields of a form, in the words of CloudFront's logs (`fle-status`).

/// What field-level encryption did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encryption {
    pub status: EncryptionStatus,
    /// Fields that were encrypted.
    pub fields: u16,
}

/// CloudFront's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionStatus {
    Processed,
    ForwardedByContentType,
    ForwardedByQueryArgs,
    ForwardedDueToNoProfile,
    MalformedContentTypeClientError,
    MalformedInputClientError,
    MalformedQueryArgsClientError,
    RejectedByContentType,
    RejectedByQueryArgs,
    FieldLengthLimitClientError,
    FieldNumberLimitClientError,
    RequestLengthLimitClientError,
    ServerError,
}

impl EncryptionStatus {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Processed,
        Self::ForwardedByContentType,
        Self::ForwardedByQueryArgs,
        Self::ForwardedDueToNoProfile,
        Self::MalformedContentTypeClientError,
        Self::MalformedInputClientError,
        Self::MalformedQueryArgsClientError,
        Self::RejectedByContentType,
        Self::RejectedByQueryArgs,
        Self::FieldLengthLimitClientError,
        Self::FieldNumberLimitClientError,
        Self::RequestLengthLimitClientError,
        Self::ServerError,
    ];

    /// The word of the logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Processed => "Processed",
            Self::ForwardedByContentType => "ForwardedByContentType",
            Self::ForwardedByQueryArgs => "ForwardedByQueryArgs",
            Self::ForwardedDueToNoProfile => "ForwardedDueToNoProfile",
            Self::MalformedContentTypeClientError => "MalformedContentTypeClientError",
            Self::MalformedInputClientError => "MalformedInputClientError",
            Self::MalformedQueryArgsClientError => "MalformedQueryArgsClientError",
            Self::RejectedByContentType => "RejectedByContentType",
            Self::RejectedByQueryArgs => "RejectedByQueryArgs",
            Self::FieldLengthLimitClientError => "FieldLengthLimitClientError",
            Self::FieldNumberLimitClientError => "FieldNumberLimitClientError",
            Self::RequestLengthLimitClientError => "RequestLengthLimitClientError",
            Self::ServerError => "ServerError",
        }
    }

    /// What a viewer is told that is refused for it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::MalformedContentTypeClientError => "The Content-Type cannot be read.",
            Self::MalformedInputClientError => "The form cannot be read.",
            Self::MalformedQueryArgsClientError => "The query argument fle-profile cannot be read.",
            Self::RejectedByContentType => "Only forms in URL encoding are taken here.",
            Self::RejectedByQueryArgs => "The query argument fle-profile names no profile.",
            Self::FieldLengthLimitClientError => "A field of the form is longer than 16 KB.",
            Self::FieldNumberLimitClientError => "The form has more than 10 fields.",
            Self::RequestLengthLimitClientError => "The form is longer than 1 MB.",
            Self::Processed
            | Self::ForwardedByContentType
            | Self::ForwardedByQueryArgs
            | Self::ForwardedDueToNoProfile
            | Self::ServerError => "The fields of the form cannot be encrypted.",
        }
    }
}

impl Encryption {
    /// As a number that is never zero.
    pub const fn to_bits(self) -> u32 {
        ((self.status as u32 + 1) << 16) | self.fields as u32
    }

    /// The other way; `None` of zero and of what is no such number.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let at = usize::try_from(bits >> 16).ok()?.checked_sub(1)?;
        let status = *EncryptionStatus::ALL.get(at)?;
        Some(Self { status, fields: (bits & 0xffff) as u16 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_comes_back() {
        for status in EncryptionStatus::ALL {
            for fields in [0, 1, u16::MAX] {
                let one = Encryption { status, fields };
                assert_eq!(Encryption::from_bits(one.to_bits()), Some(one));
            }
        }
        assert_eq!(Encryption::from_bits(0), None);
        assert_eq!(Encryption::from_bits(u32::MAX), None);
    }
}
