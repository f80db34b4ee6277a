//! The sender's task: the shell around [`super::book::Book`].

use super::{
    Command,
    book::{Book, Effect, Event},
    jobs, prepare,
};
use crate::{
    client::Chain,
    journal::{Journal, JournalEntry},
};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// The one owner of a wallet's nonce. It does nothing until [`SenderTask::run`] is polled.
pub struct SenderTask {
    book: Book,
    chain: Chain,
    journal: Arc<dyn Journal>,
    inbox: mpsc::Receiver<Command>,
    jobs: JoinSet<Option<Event>>,
}

impl std::fmt::Debug for SenderTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SenderTask").finish_non_exhaustive()
    }
}

impl SenderTask {
    pub(super) fn new(book: Book, chain: Chain, journal: Arc<dyn Journal>, inbox: mpsc::Receiver<Command>) -> Self {
        Self {
            book,
            chain,
            journal,
            inbox,
            jobs: JoinSet::new(),
        }
    }

    /// Sends and follows until `cancel` is cancelled or every handle is gone. Whatever is cut off was journaled or
    /// never left this machine.
    pub async fn run(mut self, cancel: CancellationToken) {
        let effects = self.book.start(Instant::now());
        self.execute(effects);
        while let Some(event) = self.next_event(&cancel).await {
            let effects = self.book.handle(Instant::now(), event);
            self.execute(effects);
        }
    }

    async fn next_event(&mut self, cancel: &CancellationToken) -> Option<Event> {
        loop {
            let poll_at = self.book.poll_at();
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = cancel.cancelled() => return None,
                // Cancel-safe: a finished job stays in the set until it is taken.
                Some(joined) = self.jobs.join_next() => match joined {
                    Ok(Some(event)) => return Some(event),
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a job of the sender ended badly"),
                },
                // Cancel-safe: a message stays in the channel until it is taken.
                command = self.inbox.recv() => return command.map(Event::Command),
                // Cancel-safe: the time is computed anew each round.
                () = sleep_until(poll_at) => return Some(Event::PollDue),
            }
        }
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let (chain, journal) = (self.chain.clone(), self.journal.clone());
            match effect {
                Effect::Prepare { key, epoch, job } => self.jobs.spawn(async move {
                    let result = Box::new(job.run(&chain).await);
                    Some(Event::Prepared { key, epoch, result })
                }),
                Effect::Publish { key, hash, raw, entry } => self.jobs.spawn(async move {
                    let result = jobs::publish(&chain, journal, raw, entry).await;
                    Some(Event::Published { key, hash, result })
                }),
                Effect::Record(entry) => self.jobs.spawn(async move {
                    record(journal, entry).await;
                    None
                }),
                Effect::Fail {
                    key,
                    entries,
                    unsent,
                    error,
                } => self.jobs.spawn(async move {
                    for entry in entries {
                        record(journal.clone(), entry).await;
                    }
                    Some(Event::Failed { key, unsent, error })
                }),
                Effect::Simulate { key, call } => {
                    let wallet = self.book.wallet();
                    self.jobs.spawn(async move {
                        let result = prepare::again(&chain, wallet, &call, &key).await;
                        Some(Event::Simulated { key, result })
                    })
                }
                Effect::Poll(job) => self
                    .jobs
                    .spawn(async move { Some(Event::Polled(job.run(&chain).await)) }),
            };
        }
    }
}

/// What cannot be written down is found out again after the next start.
async fn record(journal: Arc<dyn Journal>, entry: JournalEntry) {
    let key = entry.key.clone();
    if let Err(error) = jobs::record(journal, entry).await {
        tracing::error!(%key, %error, "what became of a transaction could not be journaled");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
