//! What can change while the server runs: who reads has it as it was at that moment.

use std::sync::Arc;

use parking_lot::RwLock;

/// A value that can be replaced as a whole.
#[derive(Debug)]
pub(crate) struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value as it is now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, value: T) {
        *self.0.write() = Arc::new(value);
    }
}
