//! What a job's leases do for it: the parts of an array, or the ranks of a gang. One of two pure machines decides where each
//! runs; this file gives both the same words, and nothing of its own.
//!
//! Owned by the job's task, and journaled with it.

use gpux_lease::{
    ChecksSummary, Gang, GangEffect, GangEvent, PartEffect, PartEvent, PartFault, PartQueue, PartState, PartsSummary,
    RankKey, UnknownPart,
};
use gpux_types::{BlobHash, LeaseId, Millis, PartIndex};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The machine of a job. Journals of before there were gangs hold a part queue in this place, and are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Pieces {
    Parts(PartQueue),
    Gang(Gang),
}

impl<'de> Deserialize<'de> for Pieces {
    /// By what the one has and the other has not. The derived way for enums without a tag cannot read maps whose keys are numbers,
    /// as the queue of a job that runs has them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let read = if value.get("ranks").is_some() {
            serde_json::from_value(value).map(Self::Gang)
        } else {
            serde_json::from_value(value).map(Self::Parts)
        };
        read.map_err(D::Error::custom)
    }
}

/// One try of a part or rank.
pub(super) type TryKey = (LeaseId, PartIndex, u32);

/// Something that happened to a lease, a part or a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceEvent {
    LeaseReady {
        lease: LeaseId,
        slots: u32,
    },
    LeaseLost {
        lease: LeaseId,
    },
    LeaseClosed {
        lease: LeaseId,
    },
    /// A rank stands.
    Stood(TryKey),
    Finished {
        key: TryKey,
        /// Of all that it handed back.
        digest: BlobHash,
    },
    /// The secret that was asked for.
    Drawn(u64),
    Failed {
        key: TryKey,
        failed: Failed,
    },
    /// The job ends, whatever its pieces do.
    JobEnded,
    Ticked,
    Restarted,
}

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) fault: PartFault,
    /// With which code its program ended, where it ran.
    pub(super) exit_code: Option<i32>,
}

/// Something for the job's task to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceEffect {
    Part(PartEffect),
    Gang(GangEffect),
}

impl PieceEffect {
    /// Whether that try's result is taken.
    pub(super) fn keeps(&self, (lease, part, attempt): TryKey) -> bool {
        match self {
            Self::Part(effect) => *effect == PartEffect::Keep { lease, part, attempt },
            Self::Gang(effect) => *effect == GangEffect::Keep(rank_key((lease, part, attempt))),
        }
    }
}

const fn rank_key((lease, rank, attempt): TryKey) -> RankKey {
    RankKey { lease, rank, attempt }
}

impl Pieces {
    /// Gives the machine an event that happened at `now`.
    ///
    /// # Errors
    /// When it names a try that was never given to that lease.
    pub(super) fn handle(&mut self, now: Millis, event: PieceEvent) -> Result<Vec<PieceEffect>, UnknownPart> {
        match self {
            Self::Parts(queue) => {
                let Some(event) = part_event(event) else {
                    return Ok(Vec::new());
                };
                Ok(queue.handle(event)?.into_iter().map(PieceEffect::Part).collect())
            }
            Self::Gang(gang) => {
                let Some(event) = gang_event(event) else {
                    return Ok(Vec::new());
                };
                let effects = gang.handle(now, event)?;
                Ok(effects.into_iter().map(PieceEffect::Gang).collect())
            }
        }
    }

    /// Whether time alone changes something now.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        match self {
            Self::Parts(_) => false,
            Self::Gang(gang) => gang.is_late(now),
        }
    }

    /// Whether a node can have worked by now: of a gang none has before it was told to go.
    pub(super) const fn may_have_begun(&self) -> bool {
        match self {
            Self::Parts(_) => true,
            Self::Gang(gang) => gang.went(),
        }
    }

    /// See [`PartQueue::check`].
    pub(super) fn check(&self, (lease, part, attempt): TryKey) -> Result<(), UnknownPart> {
        match self {
            Self::Parts(queue) => queue.check(lease, part, attempt),
            Self::Gang(gang) => gang.check(lease, part, attempt),
        }
    }

    /// Whether a result of that try would be the piece's: of a gang only the newest attempt counts.
    pub(super) fn wants_result_of(&self, (lease, part, attempt): TryKey) -> bool {
        match self {
            Self::Parts(queue) => {
                let over = matches!(
                    queue.part(part),
                    Some(PartState::Done { .. } | PartState::GivenUp { .. })
                );
                !over && !queue.is_void(lease, part, attempt)
            }
            Self::Gang(gang) => {
                gang.part(part) == Some(PartState::Running)
                    && gang
                        .ranks()
                        .any(|seen| seen.key.rank == part && seen.key.attempt == attempt)
            }
        }
    }

    /// Whether that try does again what has a result, to compare them.
    pub(super) fn is_check(&self, (_, part, attempt): TryKey) -> bool {
        match self {
            Self::Parts(queue) => queue.is_check(part, attempt),
            Self::Gang(_) => false,
        }
    }

    /// How the checks went so far; nothing of a job that asks for none.
    pub(super) fn checks(&self) -> Option<ChecksSummary> {
        match self {
            Self::Parts(queue) => queue.checks(),
            Self::Gang(_) => None,
        }
    }

    /// Parts whose results differ, and nobody could decide.
    pub(super) fn doubtful(&self) -> Vec<PartIndex> {
        match self {
            Self::Parts(queue) => queue.doubtful().collect(),
            Self::Gang(_) => Vec::new(),
        }
    }

    pub(super) fn summary(&self) -> PartsSummary {
        match self {
            Self::Parts(queue) => queue.summary(),
            Self::Gang(gang) => gang.summary(),
        }
    }

    pub(super) fn running_on(&self, lease: &LeaseId) -> Vec<(PartIndex, u32)> {
        match self {
            Self::Parts(queue) => queue.running_on(lease).collect(),
            Self::Gang(gang) => gang.running_on(lease).collect(),
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Parts(queue) => queue.is_finished(),
            Self::Gang(gang) => gang.end().is_some(),
        }
    }
}

/// What a part queue hears; what only a gang cares for says nothing to it.
const fn part_event(event: PieceEvent) -> Option<PartEvent> {
    Some(match event {
        PieceEvent::LeaseReady { lease, slots } => PartEvent::LeaseReady { lease, slots },
        PieceEvent::LeaseLost { lease } => PartEvent::LeaseLost { lease },
        PieceEvent::LeaseClosed { lease } => PartEvent::LeaseClosed { lease },
        PieceEvent::Finished {
            key: (lease, part, attempt),
            digest,
        } => PartEvent::Finished {
            lease,
            part,
            attempt,
            digest,
        },
        PieceEvent::Drawn(secret) => PartEvent::Drawn { secret },
        PieceEvent::Failed {
            key: (lease, part, attempt),
            failed,
        } => PartEvent::Failed {
            lease,
            part,
            attempt,
            fault: failed.fault,
        },
        PieceEvent::Restarted => PartEvent::Restarted,
        PieceEvent::Stood(_) | PieceEvent::JobEnded | PieceEvent::Ticked => return None,
    })
}

/// What a gang hears; what only a part queue cares for says nothing to it.
const fn gang_event(event: PieceEvent) -> Option<GangEvent> {
    Some(match event {
        PieceEvent::LeaseReady { lease, .. } => GangEvent::LeaseReady { lease },
        PieceEvent::LeaseLost { lease } => GangEvent::LeaseLost { lease },
        PieceEvent::LeaseClosed { lease } => GangEvent::LeaseClosed { lease },
        PieceEvent::Stood(key) => GangEvent::Stood(rank_key(key)),
        PieceEvent::Finished { key, .. } => GangEvent::Finished(rank_key(key)),
        PieceEvent::Failed { key, failed } => GangEvent::Failed {
            key: rank_key(key),
            fault: failed.fault,
            exit_code: failed.exit_code,
        },
        PieceEvent::JobEnded => GangEvent::JobEnded,
        PieceEvent::Ticked => GangEvent::Ticked,
        PieceEvent::Restarted => GangEvent::Restarted,
        PieceEvent::Drawn(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_lease::{GATHER_LIMIT, GangPolicy, PartPolicy, ReleaseRule};

    const LEASE: LeaseId = LeaseId([7; 32]);

    #[test]
    fn pieces_that_are_under_way_are_read_from_the_journal_as_they_were() {
        let policy = PartPolicy {
            provider_fault_retries: 1,
            error_retries: 1,
            strikes: 3,
            release: ReleaseRule::WhenDone,
        };
        let parts = Pieces::Parts(PartQueue::new(policy, 3).over(1));
        let policy = GangPolicy {
            provider_fault_retries: 1,
            error_retries: 1,
            gather_limit: GATHER_LIMIT,
        };
        let gang = Pieces::Gang(Gang::new(policy, [LEASE, LeaseId([8; 32])]));
        for mut pieces in [parts, gang] {
            let ready = PieceEvent::LeaseReady { lease: LEASE, slots: 2 };
            assert!(!pieces.handle(Millis(5), ready).unwrap().is_empty());
            let text = serde_json::to_string(&pieces).unwrap();
            assert_eq!(serde_json::from_str::<Pieces>(&text).unwrap(), pieces);
        }
    }
}
