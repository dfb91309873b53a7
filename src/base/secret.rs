//! Something that must not be seen: no Debug that shows it, no Display, no equality by accident.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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
        scheme.eq_ignore_ascii_case(b"bearer ") && self.is_shown_by(given)
    }

    /// Says whether these octets are it, in constant time.
    pub fn is_shown_by(&self, given: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(given, self.0.as_bytes()).is_ok()
    }

    /// Says whether an Authorization field of the scheme Basic (RFC 7617) has it for a password,
    /// whatever the user is called: some senders can show nothing else.
    pub fn is_password_of(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) = authorization.split_at_checked(6) else { return false };
        let Ok(pair) = STANDARD.decode(given) else { return false };
        let Some(colon) = pair.iter().position(|octet| *octet == b':') else { return false };
        let password = &pair[colon + 1..];
        scheme.eq_ignore_ascii_case(b"basic ") && self.is_shown_by(password)
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

    #[test]
    fn a_password_may_be_any_users() {
        let secret = Secret::new("Let:Me".to_string());
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert!(secret.is_password_of(basic("minio:Let:Me").as_bytes()));
        assert!(secret.is_password_of(basic(":Let:Me").as_bytes()));
        for bad in [basic("minio:Let"), basic("Let:Me"), basic("x"), "Basic %".into(), "B".into()] {
            assert!(!secret.is_password_of(bad.as_bytes()), "{bad}");
        }
    }
}
