//! The parts of a job: given to nodes, fetched when they are done, counted when they are on this machine's disk.

use super::{
    Fetched, JobInput, JobTask, PeerReply,
    calls::{TRIES, call_until},
    fetch::{Fetch, FetchError, discard, put_in_place},
};
use crate::renter::{
    outputs,
    pieces::{PieceEffect, PieceEvent, TryKey},
    record::Try,
    trouble::Trouble,
    view,
};
use gpux_api::{EndView, OutputView};
use gpux_job::{Part, RetryOn, Work};
use gpux_lease::{PartEffect, PartFault};
use gpux_proto::{CancelPart, ErrorCode, MAX_OUTPUTS, OutputSpec, PartReport, PartSpec, PeerError, Request, Response};
use gpux_types::{BlobHash, ByteSize, LeaseId, NodeId, PartIndex};

/// Where it is noted what happened to the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    OnDisk,
    /// The disk took nothing; it is tried again.
    InMemory,
}

impl JobTask {
    /// Gives the job's pieces an event, journals them, and performs what follows. An event that does not fit says nothing.
    pub(super) fn piece_event(&mut self, event: PieceEvent) -> Noted {
        match self.record.queue.handle(self.node.clock.now(), event) {
            Ok(effects) => self.perform_pieces(effects),
            Err(error) => {
                tracing::debug!(job = %self.record.name, %error, "news of an unknown part");
                Noted::OnDisk
            }
        }
    }

    /// Performs what the pieces ask for, once they are on the disk as they are now.
    pub(super) fn perform_pieces(&mut self, effects: Vec<PieceEffect>) -> Noted {
        self.put_off.get_or_insert_default().extend(effects);
        self.perform_what_was_put_off()
    }

    /// What the disk did not take has happened in the queue, and nothing of it leaves this machine until the disk takes it.
    pub(super) fn perform_what_was_put_off(&mut self) -> Noted {
        if self.put_off.is_none() {
            return Noted::OnDisk;
        }
        if !self.keep_job() {
            return Noted::InMemory;
        }
        for effect in self.put_off.take().unwrap_or_default() {
            match effect {
                PieceEffect::Part(effect) => self.perform_part(effect),
                PieceEffect::Gang(effect) => self.perform_gang(effect),
            }
        }
        Noted::OnDisk
    }

    fn perform_part(&mut self, effect: PartEffect) {
        match effect {
            PartEffect::Assign { lease, part, attempt } => {
                self.give((lease, part, attempt), Request::Part);
            }
            PartEffect::Cancel { lease, part, attempt } => self.cancel(CancelPart { lease, part, attempt }),
            // Kept where the result was taken, in `fetched`.
            PartEffect::Keep { .. } => {}
            PartEffect::GiveUp { part, fault } => self.give_up(part, fault),
            PartEffect::Release { lease } => {
                self.lease_event(lease, gpux_lease::RenterEvent::PartsDrained);
            }
            PartEffect::Drop { lease } => {
                self.lease_event(lease, gpux_lease::RenterEvent::StopRequested);
            }
            PartEffect::Discard { lease, part, attempt } => self.discard_result((lease, part, attempt)),
            PartEffect::Draw => self.draw_sample(),
            PartEffect::Outvoted { lease } => self.outvoted(lease),
            PartEffect::Starved => self.starved(),
            PartEffect::Finish(summary) => {
                tracing::info!(job = %self.record.name, ?summary, "all parts are over");
                if summary.given_up == 0 {
                    self.all_are_done();
                }
            }
        }
    }

    /// Gives a try of a part or rank to its node, by the request that `ask` makes of it.
    pub(super) fn give(&mut self, (lease, part, attempt): TryKey, ask: fn(LeaseId, PartSpec) -> Request) {
        let (Some(live), Some(piece)) = (self.leases.get(&lease), self.record.job.part(part)) else {
            return;
        };
        if self
            .record
            .waiting
            .iter()
            .any(|waiting| waiting.key() == (lease, part, attempt))
        {
            // It ended before this daemon was started: only its outputs are missing.
            return;
        }
        let before = self.record.tries.get(&part);
        let newest = Try {
            lease,
            node: live.record.node,
            attempt,
            failed: false,
            why: before.and_then(|before| {
                let known = before.attempt == attempt || before.failed;
                // Nothing else takes a part from a node that works on it; ranks are stopped with the one that failed.
                let lost = (!known && !self.record.job.is_gang()).then_some(Trouble::NodeLost);
                if known { before.why } else { lost }
            }),
        };
        // What counts of a part, and its log, stays that of the try that is checked.
        if !self.record.queue.is_check((lease, part, attempt)) {
            self.record.tries.insert(part, newest);
            self.tries.send_replace(self.record.tries.clone());
        }
        let spec = PartSpec {
            part,
            attempt,
            environment: self.environment(&piece),
        };
        let (node, peer) = (self.node.clone(), live.record.node);
        self.effects.spawn(async move {
            match call_until(&node, peer, &ask(lease, spec), TRIES).await {
                Ok(_) => JobInput::Done,
                Err(error) => {
                    tracing::debug!(lease = %lease.short(), %part, error = %crate::error_chain(&error), "giving a part");
                    JobInput::PartRefused { lease, part, attempt }
                }
            }
        });
    }

    /// The variables of one container: its own, and until when its work may run as far as is known now.
    fn environment(&self, piece: &Part) -> Vec<(String, String)> {
        let expiries = self.leases.values().map(|live| live.record.newest_expiry());
        let deadline = expiries
            .min()
            .map(|expiry| ("GPUX_DEADLINE".to_owned(), expiry.0.to_string()));
        piece.environment().into_iter().chain(deadline).collect()
    }

    /// Ends a try of a part that another node finished first: its time would be paid for nothing. A node that cannot be told
    /// runs it to its end, and its result is not kept.
    pub(super) fn cancel(&mut self, cancel: CancelPart) {
        let Some(live) = self.leases.get(&cancel.lease) else {
            return;
        };
        tracing::info!(lease = %cancel.lease.short(), part = %cancel.part, attempt = cancel.attempt, "a try is not wanted any more");
        let (node, peer) = (self.node.clone(), live.record.node);
        self.effects.spawn(async move {
            if let Err(error) = call_until(&node, peer, &Request::CancelPart(cancel), TRIES).await {
                tracing::debug!(lease = %cancel.lease.short(), error = %crate::error_chain(&error), "ending a try");
            }
            JobInput::Done
        });
    }

    pub(super) fn part_failed(&mut self, key: TryKey, trouble: Trouble) -> Noted {
        let (_, part, attempt) = key;
        let failed = trouble.failed();
        if let Some(last) = self.record.tries.get_mut(&part)
            && last.attempt == attempt
        {
            last.failed = true;
            last.why = Some(trouble);
            self.tries.send_replace(self.record.tries.clone());
        }
        self.piece_event(PieceEvent::Failed { key, failed })
    }

    /// A node told what became of a part. It is told that this is noted once it is: a failure when it is on the disk. What ended
    /// well is noted when its files are here; until then a restart asks the node again.
    pub(super) fn part_reported(&mut self, from: NodeId, report: PartReport, reply: PeerReply) {
        let mine = self.leases.get(&report.key().0);
        let answer = if mine.is_none_or(|live| live.record.node != from) {
            Err(PeerError::new(
                ErrorCode::NoSuchLease,
                "there is no such lease of yours here",
            ))
        } else if self.take_report(report) == Noted::InMemory {
            Err(PeerError::new(
                ErrorCode::Internal,
                "the report could not be kept; try again",
            ))
        } else {
            Ok(Response::Accepted)
        };
        // An asker that went away tells again.
        let _ = reply.send(answer);
    }

    fn take_report(&mut self, report: PartReport) -> Noted {
        let key = report.key();
        let (lease, part, attempt) = key;
        match report {
            PartReport::Started { .. } => Noted::OnDisk,
            PartReport::Standing { .. } => self.piece_event(PieceEvent::Stood(key)),
            PartReport::Ended {
                exit_code: 0, outputs, ..
            } => {
                self.fetch(key, outputs);
                Noted::OnDisk
            }
            PartReport::Ended {
                exit_code,
                out_of_memory,
                ..
            } => {
                tracing::warn!(lease = %lease.short(), %part, attempt, exit_code, out_of_memory, "a part failed");
                self.note_exit(key, exit_code, out_of_memory);
                let code = exit_code;
                self.part_failed(key, Trouble::Exited { code, out_of_memory })
            }
            PartReport::Failed {
                bad_program, message, ..
            } => {
                tracing::warn!(lease = %lease.short(), %part, attempt, %message, "a part did not run");
                let trouble = if bad_program {
                    Trouble::NoProgram
                } else {
                    Trouble::NotRun
                };
                if let Some(exit_code) = trouble.exit_code() {
                    self.note_exit(key, exit_code, false);
                }
                self.part_failed(key, trouble)
            }
        }
    }

    fn fetch(&mut self, key: TryKey, specs: Vec<OutputSpec>) {
        let (lease, part, _) = key;
        // A node could hand back what it was never given, again and again, and fill this machine's disk with it.
        if let Err(error) = self.record.queue.check(key) {
            tracing::warn!(lease = %lease.short(), %error, "a node hands back a try that it was not given");
            return;
        }
        if self.record.queue.is_check(key) {
            self.compare(key, specs);
            return;
        }
        if !self.record.queue.wants_result_of(key) || self.fetching.contains_key(&key) {
            return;
        }
        // Of a gang one rank often writes for all.
        if specs.is_empty() && self.record.job.work.collect().is_some() && !self.record.job.is_gang() {
            tracing::warn!(lease = %lease.short(), %part, "a part ended well but wrote nothing that `collect` names");
            self.part_failed(key, Trouble::NothingCollected);
            return;
        }
        let job = &self.record.job;
        if !could_be_written(&specs, job.resources.disk) {
            self.wrong_outputs(key, "more than its lease's disk can hold");
            return;
        }
        match outputs::collected(specs, job.work.collect()) {
            Some(specs) => self.bring(key, self.named(part, specs)),
            None => self.wrong_outputs(key, "files that `collect` does not name, or that cannot all be there"),
        }
    }

    /// Fetches the outputs of a try that were found to be possible.
    pub(super) fn bring(&mut self, key: TryKey, specs: Vec<OutputSpec>) {
        let (lease, part, attempt) = key;
        let Some(from) = self.leases.get(&lease).map(|live| live.record.node) else {
            return;
        };
        self.fetching.insert(key, specs.clone());
        let (node, job, output) = (self.node.clone(), self.record.id, self.record.output.clone());
        let view = move |spec: &OutputSpec| OutputView {
            path: spec.path.clone(),
            part,
            node: from,
            lease,
            hash: spec.blob.hash,
            size: spec.blob.size,
        };
        self.effects.spawn(async move {
            let fetch = Fetch {
                node: &node,
                job,
                from,
                output: &output,
                mark: &format!("{}-{attempt}", lease.short()),
            };
            JobInput::Fetched {
                lease,
                part,
                attempt,
                files: fetch.all(&specs, view).await,
            }
        });
    }

    /// A node announced what no honest one can have.
    fn wrong_outputs(&mut self, key: TryKey, what: &str) {
        let (lease, part, _) = key;
        tracing::warn!(lease = %lease.short(), %part, "a node hands back {what}");
        self.part_failed(key, Trouble::WrongOutputs);
    }

    /// The outputs of a try are here under names of their own, or are not. They get their names before the part counts as done.
    pub(super) fn fetched(&mut self, key: TryKey, files: Result<Vec<Fetched>, FetchError>) {
        let (lease, part, _) = key;
        let specs = self.fetching.remove(&key).unwrap_or_default();
        let over = !self.record.queue.wants_result_of(key);
        let placed = files.and_then(|files| {
            if over {
                // The winner's files have these names.
                discard(&self.record.output, &files);
            } else {
                put_in_place(&self.record.output, &files)?;
            }
            Ok(files)
        });
        match placed {
            Ok(files) => {
                self.waits_no_more(key);
                self.count_result(key, files, outputs::fingerprint(&specs));
            }
            Err(error) if error.is_own() && !over && self.record.end.is_none() => {
                self.wait_for_disk(key, specs, &error);
                return;
            }
            Err(error) => {
                if let Some(waited) = self.waits_no_more(key) {
                    self.lost_for_disk = waited.why.or(self.lost_for_disk.take());
                }
                tracing::warn!(lease = %lease.short(), %part, error = %crate::error_chain(&error), "fetching outputs");
                self.part_failed(key, Trouble::NotFetched);
            }
        }
        self.tell_end_put_off(lease);
    }

    fn count_result(&mut self, key: TryKey, files: Vec<Fetched>, digest: BlobHash) {
        let (lease, part, _) = key;
        let now = self.node.clock.now();
        let effects = self.record.queue.handle(now, PieceEvent::Finished { key, digest });
        let effects = effects.unwrap_or_default();
        if effects.iter().any(|effect| effect.keeps(key)) {
            // A rank of a gang that is tried again may have had a result before.
            self.record.outputs.retain(|output| output.part != part);
            self.record.outputs.extend(files.into_iter().map(|file| file.view));
            if let Some(live) = self.leases.get_mut(&lease) {
                live.record.parts_done += 1;
                self.keep_lease(lease);
            }
        }
        self.perform_pieces(effects);
    }

    /// The names under which results come here: those of a gang's ranks apart from each other, since ranks of one command name their
    /// files alike.
    fn named(&self, part: PartIndex, mut specs: Vec<OutputSpec>) -> Vec<OutputSpec> {
        if self.record.job.is_gang() {
            for spec in &mut specs {
                spec.path = format!("rank-{part}/{}", spec.path);
            }
        }
        specs
    }

    fn give_up(&mut self, part: PartIndex, fault: PartFault) {
        let exit_code = self.record.first_exit.filter(|_| fault == PartFault::Error);
        let (what, code) = match (&self.record.job.work, exit_code) {
            (Work::Array(_), _) => (view::part_name(&self.record.job, part), None),
            (Work::Task(_), code) => ("the task".to_owned(), code),
        };
        let (reason, actor) = match (fault, code) {
            (PartFault::Error, Some(code)) => (format!("{what} exited with {code}"), gpux_api::Actor::Renter),
            (PartFault::Error, None) => (format!("{what} failed too often"), gpux_api::Actor::Renter),
            (PartFault::Provider, _) => (
                format!("{what} was lost by its nodes too often"),
                gpux_api::Actor::Provider,
            ),
        };
        self.end_job(EndView {
            reason,
            actor,
            exit_code,
        });
    }

    fn note_exit(&mut self, key: TryKey, exit_code: i32, out_of_memory: bool) {
        let (_, part, _) = key;
        if out_of_memory {
            tracing::warn!(job = %self.record.name, %part, "a part used more memory than its lease holds");
        }
        // That a check fails does not end the job.
        if !self.record.queue.is_check(key) {
            self.record.first_exit.get_or_insert(exit_code);
        }
    }

    fn starved(&mut self) {
        if self.record.end.is_some() {
            return;
        }
        let (reason, actor) = match self.lost_for_disk.take() {
            Some(why) => (
                format!("this machine could not take results while their nodes kept them: {why}"),
                gpux_api::Actor::Renter,
            ),
            None => (
                "no node is left that could take the remaining parts".to_owned(),
                gpux_api::Actor::Provider,
            ),
        };
        self.end_job(EndView {
            reason,
            actor,
            exit_code: None,
        });
    }

    /// How often a part is tried again, as the job says.
    pub(in crate::renter) fn part_policy(retry: &gpux_job::Retry) -> gpux_lease::PartPolicy {
        let times = |on| if retry.on.contains(&on) { retry.max } else { 0 };
        gpux_lease::PartPolicy {
            provider_fault_retries: times(RetryOn::ProviderFault),
            error_retries: times(RetryOn::Error),
            strikes: 3,
            release: gpux_lease::ReleaseRule::WhenDone,
        }
    }

    /// How often a gang is tried again, as the job says.
    pub(in crate::renter) fn gang_policy(retry: &gpux_job::Retry) -> gpux_lease::GangPolicy {
        let of_part = Self::part_policy(retry);
        gpux_lease::GangPolicy {
            provider_fault_retries: of_part.provider_fault_retries,
            error_retries: of_part.error_retries,
            gather_limit: gpux_lease::GATHER_LIMIT,
        }
    }
}

/// Whether a container with a disk of that size can have written these files: a node must not fill the renter's disk.
fn could_be_written(specs: &[OutputSpec], disk: ByteSize) -> bool {
    let total = specs
        .iter()
        .fold(0, |sum: u64, spec| sum.saturating_add(spec.blob.size.0));
    specs.len() <= MAX_OUTPUTS && total <= disk.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_proto::BlobSpec;
    use gpux_types::BlobHash;

    #[test]
    fn outputs_larger_than_the_leases_disk_are_not_fetched() {
        let file = |size| OutputSpec {
            path: "a.png".into(),
            blob: BlobSpec {
                hash: BlobHash([0; 32]),
                size: ByteSize(size),
            },
        };
        let disk = ByteSize(100);
        assert!(could_be_written(&[file(60), file(40)], disk));
        assert!(!could_be_written(&[file(60), file(41)], disk));
        assert!(
            !could_be_written(&[file(u64::MAX), file(u64::MAX)], disk),
            "sizes do not wrap"
        );
        assert!(!could_be_written(&vec![file(0); MAX_OUTPUTS + 1], disk));
    }
}
