//! Where the daemon's unpredictable bytes come from: ids of jobs, nonces of quotes, receipt keys.

use gpux_chain::HotKey;
use std::{fmt, sync::Arc};

/// A source of unpredictable bytes. A simulated world gives its own, so that one seed is one run.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> [u8; 32] + Send + Sync>);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// The operating system's.
    #[must_use]
    pub(crate) fn system() -> Self {
        Self::of(rand::random)
    }

    /// Whatever `source` gives. Only a simulated world may use one that can be foretold.
    #[must_use]
    pub fn of(source: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Fresh bytes.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(32) {
            let fresh = (self.0)();
            chunk.iter_mut().zip(fresh).for_each(|(to, from)| *to = from);
        }
        bytes
    }

    /// A fresh key.
    pub(crate) fn key(&self) -> HotKey {
        loop {
            // One in 2^128 draws is no key.
            if let Ok(key) = HotKey::from_bytes(&self.bytes()) {
                return key;
            }
        }
    }
}
