//! Pure: why a call of a lambda gave nothing.

use std::fmt;

/// Why a call gave no answer, or none that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeFailure {
    /// As many calls wait as may, or this one waited for as long as it may.
    Throttled,
    /// Longer than the function's time.
    TimedOut,
    /// More memory than the function's.
    OutOfMemory,
    /// The worker ended in the middle of the call: how.
    Exited(String),
    /// No worker starts: an error of the code, or what is missing.
    InitFailed { kind: String, message: String },
    /// The code threw, rejected or called back with an error.
    HandlerError { kind: String, message: String },
    /// The event or the answer has more than 6 MiB.
    TooLarge,
    /// The answer is no JSON.
    NotJson,
}

/// The word of X-Cache that CloudFront has for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LambdaWord {
    Execution,
    Validation,
    LimitExceeded,
}

impl LambdaWord {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Execution => "LambdaExecutionError",
            Self::Validation => "LambdaValidationError",
            Self::LimitExceeded => "LambdaLimitExceeded",
        }
    }
}

impl InvokeFailure {
    /// The word that CloudFront has for it.
    pub const fn word(&self) -> LambdaWord {
        match self {
            Self::Throttled | Self::TimedOut => LambdaWord::LimitExceeded,
            Self::OutOfMemory
            | Self::Exited(_)
            | Self::InitFailed { .. }
            | Self::HandlerError { .. } => LambdaWord::Execution,
            Self::TooLarge | Self::NotJson => LambdaWord::Validation,
        }
    }

    /// The status that a viewer gets.
    pub const fn status(&self) -> u16 {
        match self.word() {
            LambdaWord::Execution | LambdaWord::LimitExceeded => 503,
            LambdaWord::Validation => 502,
        }
    }

    /// CloudFront's sentence for the error page: nothing of the code is in it.
    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::Throttled | Self::TimedOut => {
                "The Lambda function associated with the CloudFront distribution was throttled."
            }
            Self::OutOfMemory
            | Self::Exited(_)
            | Self::InitFailed { .. }
            | Self::HandlerError { .. } => {
                "The Lambda function associated with the CloudFront distribution is invalid or doesn't have the required permissions."
            }
            Self::TooLarge => {
                "The Lambda function result failed validation: The size of the response is too large."
            }
            Self::NotJson => {
                "The Lambda function returned invalid JSON: The JSON is not formatted correctly."
            }
        }
    }
}

impl fmt::Display for InvokeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttled => f.write_str("no worker was free in time"),
            Self::TimedOut => f.write_str("it took longer than it may"),
            Self::OutOfMemory => f.write_str("it took more memory than it may"),
            Self::Exited(how) => write!(f, "its worker ended: {how}"),
            Self::InitFailed { kind, message } => {
                write!(f, "no worker starts: {kind}: {message}")
            }
            Self::HandlerError { kind, message } => write!(f, "{kind}: {message}"),
            Self::TooLarge => f.write_str("the event or the answer has more than 6 MiB"),
            Self::NotJson => f.write_str("its answer is no JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_cloudfronts_word_and_status() {
        let (kind, message) = (String::new(), String::new());
        let init = InvokeFailure::InitFailed { kind: kind.clone(), message: message.clone() };
        for (failure, word, status) in [
            (InvokeFailure::Throttled, "LambdaLimitExceeded", 503),
            (InvokeFailure::TimedOut, "LambdaLimitExceeded", 503),
            (InvokeFailure::OutOfMemory, "LambdaExecutionError", 503),
            (InvokeFailure::Exited(String::new()), "LambdaExecutionError", 503),
            (init, "LambdaExecutionError", 503),
            (InvokeFailure::HandlerError { kind, message }, "LambdaExecutionError", 503),
            (InvokeFailure::TooLarge, "LambdaValidationError", 502),
            (InvokeFailure::NotJson, "LambdaValidationError", 502),
        ] {
            assert_eq!((failure.word().word(), failure.status()), (word, status), "{failure}");
            assert!(failure.sentence().starts_with("The Lambda function"), "{failure}");
        }
    }
}
