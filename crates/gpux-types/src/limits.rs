//! How much a job may hold, wherever it is: in the renter's file, on the wire, in the runtime.

/// The most layers of an image: Docker's limit, which is below what an overlay can have.
pub const MAX_LAYERS: usize = 127;
/// The most inputs of a job: each is a mount in every part.
pub const MAX_INPUTS: usize = 64;
/// The most arguments of a command, the program included.
pub const MAX_ARGUMENTS: usize = 256;
/// The most variables of a job, its params and those that GPUX sets included.
pub const MAX_VARIABLES: usize = 256;
