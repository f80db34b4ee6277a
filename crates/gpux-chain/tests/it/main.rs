//! The chain adapter against a real anvil with the real contracts.

#[cfg(test)]
mod collecting;
#[cfg(test)]
mod deploying;
#[cfg(test)]
mod devnet;
#[cfg(test)]
mod many;
mod reading;
#[cfg(test)]
mod sending;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod world;
