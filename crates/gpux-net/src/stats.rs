//! Counters of what peers did and what was refused, for the daemon's status and for tests.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A snapshot of the counters since the start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct NetStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The live counters; anybody in this crate may add.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> NetStats {
                NetStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Announcements that became, renewed or withdrew an offer.
    offers_accepted,
    /// Announcements longer than any honest one.
    offers_oversized,
    /// Announcements that could not be decoded, or whose parts contradict each other.
    offers_malformed,
    /// Announcements with a wrong signature of the node or the wallet.
    offers_forged,
    /// Announcements that are not newer than what is known of their node.
    offers_replayed,
    /// Announcements over the rate of their node or of the neighbour that delivered them.
    offers_limited,
    /// Announcements that were over when they came.
    offers_expired,
    /// Announcements of new nodes that there was no room for.
    offers_unheard,
    /// Announcements whose offer nobody had when it was asked for.
    offers_untold,
    /// Times that a neighbour stalled the gossip and its connections were made anew.
    gossip_stalls,
    /// Incoming connections refused because there were too many.
    connections_refused,
    /// Calls answered.
    calls_answered,
    /// Calls refused unheard: too many, too large or not decodable.
    calls_refused,
    /// Blob transfers to peers begun.
    blobs_served,
    /// Blob requests refused for want of a lease that names the blob.
    blobs_refused,
    /// Bytes of blobs that peers were sent, with the hashes that prove them.
    blob_bytes_sent,
    /// Bytes of blobs that peers sent, with the hashes that prove them.
    blob_bytes_received,
}

/// Adds one.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Adds so many.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}
