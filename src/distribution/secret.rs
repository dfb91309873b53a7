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
    /// Says whether two configured secrets are the same. Not for what a viewer sends: it tells by its time where they differ.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
