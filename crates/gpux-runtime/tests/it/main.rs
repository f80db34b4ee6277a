//! Tests of the runtime against the real kernel: they need root and fail without it.

mod mounts;
mod support;
