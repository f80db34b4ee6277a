//! Which unpacked layers go. Owns the rules; touches no file. The store asks with what it found on the disk, and removes.
//!
//! A layer that somebody uses never goes. Of the others, those go first that no paid work ever used: else a stranger who never
//! pays could push out what is warm with ever new images. Then those that were not asked for the longest.

use crate::images::Digest;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// A layer that nobody uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) digest: Digest,
    /// What its files take.
    pub(super) bytes: u64,
    /// When somebody last asked for it. Only their order counts, so that a clock that was set does no harm.
    pub(super) asked: SystemTime,
    /// Whether work that was paid for ever used it.
    pub(super) earned: bool,
}

/// What could be had by removing all of them.
pub(super) fn removable(idle: &[Idle]) -> u64 {
    idle.iter().fold(0, |sum, layer| sum.saturating_add(layer.bytes))
}

/// The layers to remove for `wanted` bytes, the first to go first. None where all together would not do: nothing is made cold in vain.
pub(super) fn for_room(mut idle: Vec<Idle>, wanted: u64) -> Vec<Digest> {
    if removable(&idle) < wanted {
        return Vec::new();
    }
    idle.sort_by_key(|layer| (layer.earned, layer.asked, layer.digest));
    let mut freed = 0u64;
    let needed = idle.iter().take_while(|layer| {
        let missing = freed < wanted;
        freed = freed.saturating_add(layer.bytes);
        missing
    });
    needed.map(|layer| layer.digest).collect()
}

/// Those of an unpaid lease's layers that go with it: what paid work used stays warm.
pub(super) fn of_unpaid(idle: &[Idle], of_lease: &BTreeSet<Digest>) -> Vec<Digest> {
    let gone = idle
        .iter()
        .filter(|layer| !layer.earned && of_lease.contains(&layer.digest));
    gone.map(|layer| layer.digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn layer(name: &str, bytes: u64, asked: u64, earned: bool) -> Idle {
        Idle {
            digest: Digest::of(name.as_bytes()),
            bytes,
            asked: SystemTime::UNIX_EPOCH + Duration::from_secs(asked),
            earned,
        }
    }

    fn digests(names: &[&str]) -> Vec<Digest> {
        names.iter().map(|name| Digest::of(name.as_bytes())).collect()
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_no_more_than_is_wanted() {
        let idle = vec![
            layer("new", 10, 3, true),
            layer("old", 10, 1, true),
            layer("middle", 10, 2, true),
        ];
        assert_eq!(for_room(idle.clone(), 0), digests(&[]));
        assert_eq!(for_room(idle.clone(), 1), digests(&["old"]));
        assert_eq!(for_room(idle.clone(), 10), digests(&["old"]));
        assert_eq!(for_room(idle.clone(), 11), digests(&["old", "middle"]));
        assert_eq!(for_room(idle, 30), digests(&["old", "middle", "new"]));
    }

    #[test]
    fn a_strangers_unpaid_layers_go_before_any_that_is_warm() {
        let idle = vec![
            layer("warm", 10, 1, true),
            layer("strange", 10, 9, false),
            layer("stranger", 10, 8, false),
        ];
        assert_eq!(for_room(idle.clone(), 20), digests(&["stranger", "strange"]));
        assert_eq!(for_room(idle, 21), digests(&["stranger", "strange", "warm"]));
    }

    #[test]
    fn nothing_is_made_cold_when_it_would_not_do() {
        let idle = vec![layer("one", 10, 1, true), layer("two", u64::MAX, 2, false)];
        assert_eq!(removable(&idle), u64::MAX, "sums do not wrap");
        assert_eq!(for_room(idle[..1].to_vec(), 11), digests(&[]));
    }

    #[test]
    fn with_an_unpaid_lease_go_its_layers_that_no_paid_work_used() {
        let idle = [
            layer("base", 10, 1, true),
            layer("own", 10, 2, false),
            layer("another's", 10, 3, false),
        ];
        let of_lease = digests(&["base", "own", "used by others now"]).into_iter().collect();
        assert_eq!(of_unpaid(&idle, &of_lease), digests(&["own"]));
    }
}
