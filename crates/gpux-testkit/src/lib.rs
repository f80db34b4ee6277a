//! Stand-ins for the outside world, for tests alone: nothing here is part of a program that anybody runs.

pub mod runtime;
