//! A part whose container is made and whose program is not executed: how it goes, and how it ends without going.
//!
//! Part of the lease, which calls it. Nothing here is metered: the meter starts with the exec.

use std::io;
use std::time::Instant;

use rustix::process::{Signal, kill_process};

use super::{Lease, fault};
use crate::runtime::{ERRNO_FROZEN, PartKey, PartState, ShimFault};
use crate::shim::part::{Live, LiveStage};
use crate::shim::wire::Refusal;

impl Lease {
    /// Nothing is executed in a frozen lease: its exec would only be seen once it is thawed.
    pub(super) fn refuse_frozen(&mut self, attempted: &str, now: Instant) -> Result<(), Refusal> {
        if self.look(now).map_err(|error| fault(attempted, &error))? {
            return Err(Refusal::Fault(ShimFault {
                attempted: attempted.to_owned(),
                cause: "the lease is frozen".into(),
                errno: ERRNO_FROZEN,
            }));
        }
        Ok(())
    }

    /// Lets the program of a part that stands go. One that went before, or is over, stays as it is.
    pub(crate) fn go(&mut self, key: PartKey, now: Instant) -> Result<(), Refusal> {
        let stands = self.state.parts.get(&key).map(|part| part.state == PartState::Standing);
        if !stands.ok_or(Refusal::UnknownPart(key))? {
            return Ok(());
        }
        if self.state.end.is_some() {
            return Err(Refusal::Over);
        }
        let letting_go = format!("letting part {key} go");
        self.refuse_frozen(&letting_go, now)?;
        let Some(part) = self.state.parts.get_mut(&key) else {
            return Err(Refusal::UnknownPart(key));
        };
        if let Some(Live {
            stage: LiveStage::Launching { go, .. },
            ending: None,
            ..
        }) = &mut part.live
            && let Some(word) = go.take()
        {
            rustix::io::write(&word, &[0]).map_err(|errno| fault(&letting_go, &io::Error::from(errno)))?;
            part.state = PartState::Starting;
            self.state.version += 1;
        }
        Ok(())
    }
}

/// Ends a launch, whatever it has made so far.
pub(super) fn kill_launch(stage: &LiveStage) {
    if let LiveStage::Launching { launcher, init, .. } = stage {
        // One that ended by itself is what was wanted.
        let _ = kill_process(*launcher, Signal::KILL);
        if let Some(init) = init {
            init.signal(Signal::KILL);
        }
    }
}
