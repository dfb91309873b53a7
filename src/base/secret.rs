//! Something that must not be seen: no Debug that shows it, no Display, no equality by accident.

/// Wraps a secret value.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Shows it to the one place that needs it; the name is meant to stand out in a review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq> Secret<T> {
    /// Says whether two configured secrets are the same. Not for what a viewer sends: it tells by
    /// its time where they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Secret<String> {
    /// Says whether an Authorization field bears this token. The scheme's name has no case (RFC
    /// 9110 §11.1); the token is compared in constant time.
    pub fn is_borne_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) = authorization.split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && aws_lc_rs::constant_time::verify_slices_are_equal(given, self.0.as_bytes()).is_ok()
    }
}

impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_no_case_and_the_token_has() {
        let secret = Secret::new("Let-Me".to_string());
        for good in ["Bearer Let-Me", "bearer Let-Me", "BEARER Let-Me"] {
            assert!(secret.is_borne_by(good.as_bytes()), "{good}");
        }
        for bad in
            ["", "Bearer", "Bearer ", "Bearer let-me", "Bearer Let-Me2", "Basic Let-Me", "Let-Me"]
        {
            assert!(!secret.is_borne_by(bad.as_bytes()), "{bad}");
        }
    }
}
