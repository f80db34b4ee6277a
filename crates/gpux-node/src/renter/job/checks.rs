//! The checks of an array: results compared, and what follows where one is outvoted.
//!
//! What is drawn and who is right is the part queue's to say (`gpux_lease::PartQueue`); this file draws the secret, compares what nodes
//! announce, and takes back what does not count. Of a check nothing is fetched: an announced hash can only be had by doing the work.

use super::{JobTask, parts::Noted};
use crate::renter::{
    outputs,
    pieces::{PieceEvent, TryKey},
    trouble::Trouble,
    view,
};
use gpux_api::{Actor, EndView};
use gpux_lease::RenterEvent;
use gpux_proto::OutputSpec;
use gpux_types::LeaseId;

/// How many doubtful parts are named.
const NAMED: usize = 5;

impl JobTask {
    /// Draws the secret that the sample is made of. Nobody sees it before it is used.
    pub(super) fn draw_sample(&mut self) {
        let secret = u64::from_le_bytes(self.node.entropy.bytes());
        self.piece_event(PieceEvent::Drawn(secret));
    }

    /// Takes what a check made.
    pub(super) fn compare(&mut self, key: TryKey, specs: Vec<OutputSpec>) -> Noted {
        if specs.is_empty() {
            return self.part_failed(key, Trouble::NothingCollected);
        }
        let Some(specs) = outputs::collected(specs, self.record.job.work.collect()) else {
            return self.part_failed(key, Trouble::WrongOutputs);
        };
        let digest = outputs::fingerprint(&specs);
        self.piece_event(PieceEvent::Finished { key, digest })
    }

    /// Takes back a result that was kept: its files go, and the part is done again.
    pub(super) fn discard_result(&mut self, (lease, part, attempt): TryKey) {
        let (gone, stays): (Vec<_>, Vec<_>) = std::mem::take(&mut self.record.outputs)
            .into_iter()
            .partition(|output| output.part == part);
        let others = |path: &str| stays.iter().any(|output| output.path == path);
        let paths = gone.iter().map(|output| output.path.as_str());
        outputs::withdraw(&self.record.output, paths.filter(|path| !others(path)));
        self.record.outputs = stays;
        if let Some(newest) = self.record.tries.get_mut(&part) {
            newest.failed = true;
            newest.why = Some(Trouble::Outvoted);
            self.tries.send_replace(self.record.tries.clone());
        }
        tracing::warn!(lease = %lease.short(), %part, attempt, "a result of a node that was outvoted does not count");
        if let Some(live) = self.leases.get_mut(&lease) {
            live.record.parts_done = live.record.parts_done.saturating_sub(1);
            self.keep_lease(lease);
        }
        self.keep_job();
    }

    /// Ends the lease of a node whose result is not what two others made of it.
    pub(super) fn outvoted(&mut self, lease: LeaseId) {
        tracing::warn!(lease = %lease.short(), "the node handed back what two others did not make");
        self.lease_event(lease, RenterEvent::Outvoted);
    }

    /// Every part is done: whether the results can be relied on as far as was asked for.
    pub(super) fn all_are_done(&mut self) {
        let doubtful = self.record.queue.doubtful();
        if doubtful.is_empty() {
            return self.start_last_step();
        }
        let names = doubtful.iter().take(NAMED);
        let names: Vec<String> = names.map(|part| view::part_name(&self.record.job, *part)).collect();
        let more = match doubtful.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.end_job(EndView {
            reason: format!(
                "nodes made different results of {}{more}, and no other node could decide which is right: a node lies, or the app does not \
                 write the same bytes twice",
                names.join(", ")
            ),
            actor: Actor::Network,
            exit_code: None,
        });
    }
}
