//! The gate before which a rank of a gang stands until its renter opens it.

use super::{Parts, Stage};
use gpux_runtime::PartKey;
use serde::{Deserialize, Serialize};

/// Whether the program of a part may be executed as soon as its container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gate {
    /// It may.
    #[default]
    Open,
    /// It waits for the renter's word.
    Closed,
}

impl Parts {
    /// A gang that is tried again wants nothing of the attempts before, whether or not its word of that came.
    pub(super) fn cancel_before(&mut self, newest: PartKey) {
        let earlier = |part: &&mut super::Part| part.spec.part == newest.part && part.spec.attempt < newest.attempt;
        for part in self.parts.iter_mut().filter(earlier) {
            part.cancelled = true;
        }
    }

    /// Opens the gate of a part; false when it was never given. An end that is known is told again: a renter asks again when it
    /// has lost the news.
    pub(in crate::provider) fn open_gate(&mut self, wanted: PartKey) -> bool {
        let Some(part) = self.find(wanted).filter(|part| !part.note) else {
            return false;
        };
        part.tell_again();
        let before = std::mem::replace(&mut part.gate, Gate::Open);
        self.changed |= before == Gate::Closed;
        true
    }

    /// Takes back an opening that could not be written down. What went meanwhile has gone.
    pub(in crate::provider) fn close_gate(&mut self, wanted: PartKey) {
        if let Some(part) = self
            .find(wanted)
            .filter(|part| part.stage == Stage::Standing && !part.busy)
        {
            part.gate = Gate::Closed;
        }
    }
}
