//! Tests of the runtime against the real kernel: they need root and fail without it.

#[cfg(test)]
mod embedded;
#[cfg(test)]
mod eviction;
#[cfg(test)]
mod images;
#[cfg(test)]
mod layer_blobs;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod support;
