//! Draws that an attacker cannot foresee: a keyed hash of a count. Not for secrets.

/// A sequence of draws.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    key: [u8; 32],
    count: u64,
}

impl Draw {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key, count: 0 }
    }

    /// A number below `bound`, or 0 when that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.count = self.count.wrapping_add(1);
        let hash = blake3::keyed_hash(&self.key, &self.count.to_le_bytes());
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let drawn = u64::from_le_bytes(eight).checked_rem(bound).unwrap_or(0);
        usize::try_from(drawn).unwrap_or(0)
    }
}
