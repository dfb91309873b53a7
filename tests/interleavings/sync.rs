//! The names of `src/sync.rs`, each a place where another thread may come in between.

use std::time::Duration;

use shuttle::sync as theirs;
pub use theirs::atomic::{AtomicBool, AtomicU64, Ordering};

/// As parking_lot's: without poison.
#[derive(Default)]
pub struct Mutex<T>(theirs::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(theirs::Mutex::new(value))
    }

    pub fn lock(&self) -> theirs::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn try_lock(&self) -> Option<theirs::MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

#[derive(Default)]
pub struct RwLock<T>(theirs::RwLock<T>);

impl<T> RwLock<T> {
    pub fn read(&self) -> theirs::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn write(&self) -> theirs::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// No thread sleeps on it here: the writer's thread is played by a thread of its own that looks
/// again and again.
#[derive(Default)]
pub struct Condvar;

impl Condvar {
    pub fn new() -> Self {
        Self
    }

    pub fn notify_one(&self) {}

    pub fn notify_all(&self) {}

    pub fn wait_for<T>(&self, _guard: &mut theirs::MutexGuard<'_, T>, _most: Duration) {}
}

/// Set once; a thread that looks may be overtaken.
pub struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> OnceLock<T> {
    pub fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    pub fn get(&self) -> Option<&T> {
        shuttle::thread::yield_now();
        self.0.get()
    }

    pub fn set(&self, value: T) -> Result<(), T> {
        shuttle::thread::yield_now();
        self.0.set(value)
    }
}
