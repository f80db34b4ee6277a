//! Tests of the runtime against the real kernel: they need root and fail without it.

mod embedded;
mod images;
mod layer_blobs;
mod layers;
mod mounts;
mod registry;
mod support;
