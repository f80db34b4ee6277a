//! Who asks for layers and has no lease in the runtime yet: a preparation, or a run on this machine.
//!
//! From the runtime's record of a lease on, that record says what the lease uses, also to the next daemon; until then a
//! [`LayerHold`] does. Invariant: a layer that was found through a hold is there until the hold is dropped.

use super::limits::UnpackLimits;
use super::store::{Inner, UnpackError};
use crate::images::{Digest, LayerDescriptor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// How many holds are on each layer.
pub(super) type Held = BTreeMap<Digest, usize>;

/// Finds layers and keeps them from being removed while it lives: drop it once the runtime has the lease.
#[derive(Debug)]
pub struct LayerHold {
    store: Arc<Inner>,
    layers: BTreeSet<Digest>,
}

impl LayerHold {
    pub(super) fn new(store: Arc<Inner>) -> Self {
        Self {
            store,
            layers: BTreeSet::new(),
        }
    }

    /// The folder of a layer's files when it is unpacked already, which counts as asking for it.
    #[must_use]
    pub fn get(&mut self, layer: &LayerDescriptor) -> Option<PathBuf> {
        self.keep(layer.digest);
        self.store.get(layer)
    }

    /// The folder of the layer's files, unpacked now from `blob` unless it is there already.
    ///
    /// Those who ask for the same layer at once wait for one unpacking. Dropping the future gives the unpacking up. Where the
    /// disk is short, layers that nobody uses make room.
    ///
    /// # Errors
    /// When there is no room, or the layer is not what `layer` says or exceeds `limits`.
    pub async fn ensure_unpacked(
        &mut self,
        blob: &Path,
        layer: &LayerDescriptor,
        limits: &UnpackLimits,
    ) -> Result<PathBuf, UnpackError> {
        self.keep(layer.digest);
        self.store.clone().ensure_unpacked(blob, layer, limits).await
    }

    /// Before anybody looks whether the layer is there.
    fn keep(&mut self, layer: Digest) {
        if self.layers.insert(layer) {
            let mut held = self.store.held.lock().unwrap_or_else(PoisonError::into_inner);
            *held.entry(layer).or_default() += 1;
        }
    }
}

impl Drop for LayerHold {
    fn drop(&mut self) {
        let mut held = self.store.held.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in &self.layers {
            if let Some(holds) = held.get_mut(layer) {
                *holds -= 1;
                if *holds == 0 {
                    held.remove(layer);
                }
            }
        }
    }
}
