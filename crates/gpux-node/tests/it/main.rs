//! Whole daemons in one process, on a chain of their own.

#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod daemons;
