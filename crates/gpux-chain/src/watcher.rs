//! Watching leases: what their slots hold, at every depth, told whenever it changes.
//!
//! ```text
//! WatcherHandle --registry (lock)--> WatcherTask --watch, one a lease--> LeaseSeen
//!                                        '-------watch---------------> Head, WatchCursor
//! ```
//!
//! Level-triggered: a receiver always holds the present truth, and who missed ten changes sees the last. Logs only say
//! which slots to read again; after a reorganisation, and every [`WatcherConfig::refresh`], all are read. A chain node
//! that does not answer only delays this, and so does one that is behind: what a slot held once it holds until the chain was
//! reorganised, or until so many looks in a row said otherwise. One that lies for a moment changes nothing that cannot be undone:
//! a leap of time and the end of a lease must be told for a while.

mod doubt;
mod history;

use crate::{
    client::{Chain, Head, Slot},
    confirm::Depth,
    events::lease_event_topics,
    rpc::{Retry, RpcError},
};
use doubt::{Closings, TimeGuard};
use futures_util::future::try_join_all;
use gpux_types::{B256, LeaseId, UnixSeconds};
use history::{History, Step};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The longest span of blocks whose logs are asked for; after a longer absence all slots are read instead.
const MAX_LOG_SPAN: u64 = 2_000;
/// How many leases one filter names; with more, all slots of touched blocks are read instead.
const MAX_FILTER_LEASES: usize = 500;
/// How many slots are read at the same time.
const READ_BATCH: usize = 32;
/// How often the newest block is asked for while no lease is watched.
const IDLE_POLL: Duration = Duration::from_secs(2);
/// How many polls in a row may show an older block, or an older slot, than was seen before it is believed: chain nodes behind
/// one address may be some blocks apart.
const STALE_POLLS: u32 = 10;

/// How leases are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherConfig {
    /// How many blocks are remembered to recognise a reorganisation. Default: 128.
    pub history: usize,
    /// How often every slot is read, whatever the logs say. Default: 60 s.
    pub refresh: Duration,
    /// The wall's time now: the first block is compared with it, later ones with those before. Default: not known.
    pub date: Option<UnixSeconds>,
    /// How long a block that is more than an hour ahead of time must be told before it is believed. Default: ten minutes.
    pub leap_told_for: Duration,
}

impl Default for WatcherConfig {
    fn default() -> Self {
        Self {
            history: 128,
            refresh: Duration::from_secs(60),
            date: None,
            leap_told_for: Duration::from_secs(600),
        }
    }
}

/// The newest block that a watcher has taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchCursor {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
}

/// What is known of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Which lease.
    pub lease: LeaseId,
    /// The newest block when it was read.
    pub head: Head,
    /// The slot in the newest block.
    pub latest: Slot,
    /// The slot in the newest safe block.
    pub safe: Slot,
    /// The slot in the newest final block.
    pub finalized: Slot,
}

impl LeaseSeen {
    /// The slot at a depth.
    #[must_use]
    pub fn at(&self, depth: Depth) -> Slot {
        match depth {
            Depth::Latest => self.latest,
            Depth::Safe => self.safe,
            Depth::Finalized => self.finalized,
        }
    }

    fn is_settled(&self) -> bool {
        self.latest == self.safe && self.safe == self.finalized
    }

    /// Whether a slot shows less than it did: no transaction takes that away.
    fn is_behind(&self, known: &Self) -> bool {
        let depths = [Depth::Latest, Depth::Safe, Depth::Finalized];
        depths
            .into_iter()
            .any(|depth| self.at(depth).is_behind(&known.at(depth)))
    }

    fn same_slots(&self, other: &Self) -> bool {
        (self.latest, self.safe, self.finalized) == (other.latest, other.safe, other.finalized)
    }
}

#[derive(Debug, Default)]
struct Registry {
    // A lock and not a task: `watch` is called from anywhere and must not wait; it is held for a map operation.
    leases: Mutex<BTreeMap<LeaseId, watch::Sender<Option<LeaseSeen>>>>,
    heads: Mutex<Heads>,
    changed: Notify,
}

/// The newest block, and who waits for newer ones: each with a channel of its own, in the order in which they came. The receivers of
/// one channel are woken in an order that tokio draws by chance.
#[derive(Debug, Default)]
struct Heads {
    newest: Option<Head>,
    waiting: Vec<watch::Sender<Option<Head>>>,
}

impl Heads {
    fn subscribe(&mut self) -> watch::Receiver<Option<Head>> {
        let (sender, mut receiver) = watch::channel(self.newest);
        if self.newest.is_some() {
            receiver.mark_changed();
        }
        self.waiting.push(sender);
        receiver
    }

    fn tell(&mut self, head: Head) {
        self.newest = Some(head);
        self.waiting.retain(|sender| sender.send(Some(head)).is_ok());
    }
}

impl Registry {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<LeaseId, watch::Sender<Option<LeaseSeen>>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for leases to be watched. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WatcherHandle {
    registry: Arc<Registry>,
    cursor: watch::Receiver<Option<WatchCursor>>,
}

impl WatcherHandle {
    /// What is known of a lease, from now until every receiver of it is dropped; `None` until it was read once.
    #[must_use]
    pub fn watch(&self, lease: LeaseId) -> watch::Receiver<Option<LeaseSeen>> {
        let receiver = self
            .registry
            .leases()
            .entry(lease)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe();
        self.registry.changed.notify_one();
        receiver
    }

    /// The newest block; `None` until the chain node answered once.
    #[must_use]
    pub fn newest(&self) -> Option<Head> {
        self.registry.heads().newest
    }

    /// The newest block whenever it changes, and at once where there is one.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Option<Head>> {
        self.registry.heads().subscribe()
    }

    /// Where a watcher should go on after a restart.
    #[must_use]
    pub fn cursor(&self) -> watch::Receiver<Option<WatchCursor>> {
        self.cursor.clone()
    }

    /// Looks at the chain now instead of at the next poll, as when a peer says that something happened.
    pub fn wake(&self) {
        self.registry.changed.notify_one();
    }
}

/// The watcher's task. It does nothing until [`WatcherTask::run`] is polled.
#[derive(Debug)]
pub struct WatcherTask {
    chain: Chain,
    config: WatcherConfig,
    registry: Arc<Registry>,
    cursor: watch::Sender<Option<WatchCursor>>,
    history: History,
    stale_polls: u32,
    /// Rounds in a row in which a slot showed less than it did.
    stale_slots: u32,
    refreshed_at: Option<Instant>,
    time: TimeGuard,
    closings: Closings,
    in_outage: bool,
}

/// A watcher that goes on at `cursor`, and the task that the caller must run for it.
#[must_use]
pub fn watcher(chain: Chain, config: WatcherConfig, cursor: Option<WatchCursor>) -> (WatcherHandle, WatcherTask) {
    let registry = Arc::new(Registry::default());
    let (cursor_sender, cursor_receiver) = watch::channel(cursor);
    let handle = WatcherHandle {
        registry: registry.clone(),
        cursor: cursor_receiver,
    };
    let task = WatcherTask {
        history: History::new(config.history, cursor),
        time: TimeGuard::new(config.date, config.leap_told_for),
        closings: Closings::default(),
        chain,
        config,
        registry,
        cursor: cursor_sender,
        stale_polls: 0,
        stale_slots: 0,
        refreshed_at: None,
        in_outage: false,
    };
    (handle, task)
}

/// Which slots to read again.
enum Reread {
    Nothing,
    Touched(BTreeSet<LeaseId>),
    All,
}

impl WatcherTask {
    /// Watches until `cancel` is cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let pause = match self.round().await {
                Ok(()) => {
                    self.in_outage = false;
                    let interval = self.chain.config().poll_interval;
                    // A lease that is watched from now on wakes the task.
                    if self.registry.leases().is_empty() {
                        interval.max(IDLE_POLL)
                    } else {
                        interval
                    }
                }
                Err(error) => self.pause_after(&error),
            };
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = cancel.cancelled() => return,
                // Cancel-safe: a notification that is not taken stays.
                () = self.registry.changed.notified() => {}
                // Cancel-safe: the pause is computed anew each round.
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn pause_after(&mut self, error: &RpcError) -> Duration {
        if self.in_outage {
            tracing::debug!(%error, "watching leases");
        } else {
            tracing::warn!(%error, "watching leases; trying again until the chain node answers");
        }
        self.in_outage = true;
        let interval = self.chain.config().poll_interval;
        match error.retry() {
            Retry::After(rest) => rest.max(interval),
            Retry::Now | Retry::Never => interval,
        }
    }

    /// One look at the chain. What it could not finish is done again by the next one: the block counts as seen only at
    /// the end.
    async fn round(&mut self) -> Result<(), RpcError> {
        let head = self.chain.head().await?;
        let now = Instant::now();
        self.time.check(head.timestamp, now)?;
        let step = self.step(head).await?;
        let refresh_due = self
            .refreshed_at
            .is_none_or(|at| now.duration_since(at) >= self.config.refresh);
        let reread = match step {
            // At an older block there is nothing to refresh: it stays due.
            Step::Older => Reread::Nothing,
            _ if refresh_due => Reread::All,
            Step::Seen => Reread::Nothing,
            Step::Extended { from } => self.touched(from, head.number).await?,
            Step::Reorganised => Reread::All,
        };
        if matches!(step, Step::Reorganised) && self.cursor.borrow().is_some() {
            tracing::warn!(number = head.number, hash = %head.hash, "the chain was reorganised; reading all leases again");
        }
        let same_block = matches!(step, Step::Seen | Step::Older);
        let believed = matches!(step, Step::Reorganised) || self.stale_slots >= STALE_POLLS;
        if self.read_slots(head, &reread, (same_block, believed)).await? {
            self.stale_slots += 1;
            // Looked at again with the next poll.
            self.refreshed_at = None;
        } else if matches!(reread, Reread::All) {
            self.stale_slots = 0;
            self.refreshed_at = Some(now);
        }
        if !matches!(step, Step::Seen | Step::Older) {
            self.history.push(head);
            self.registry.heads().tell(head);
            self.cursor.send_replace(Some(WatchCursor {
                number: head.number,
                hash: head.hash,
            }));
        }
        Ok(())
    }

    /// How the newest block relates to those seen before.
    async fn step(&mut self, head: Head) -> Result<Step, RpcError> {
        let step = self.history.step(&head);
        self.stale_polls = if step == Some(Step::Older) {
            self.stale_polls + 1
        } else {
            0
        };
        match step {
            Some(Step::Older) if self.stale_polls < STALE_POLLS => return Ok(Step::Older),
            Some(Step::Older) | None => {}
            Some(step) => return Ok(step),
        }
        // There is a gap between the blocks seen and this one, or a fork: the newest seen block that is still on the
        // chain tells which.
        let newest = self.history.newest();
        while let Some(seen) = self.history.newest() {
            let now_there = self.chain.block(seen.number).await?;
            if now_there.is_some_and(|block| block.hash == seen.hash) && seen.number <= head.number {
                break;
            }
            self.history.forget_newest();
        }
        Ok(match (newest, self.history.newest()) {
            (Some(before), Some(after)) if before == after => Step::Extended {
                from: before.number + 1,
            },
            _ => Step::Reorganised,
        })
    }

    /// The watched leases that the escrow touched in these blocks.
    async fn touched(&self, from: u64, to: u64) -> Result<Reread, RpcError> {
        let watched: Vec<LeaseId> = self.registry.leases().keys().copied().collect();
        if watched.is_empty() {
            return Ok(Reread::Nothing);
        }
        if watched.len() > MAX_FILTER_LEASES || to.saturating_sub(from) >= MAX_LOG_SPAN {
            return Ok(Reread::All);
        }
        let ids: Vec<B256> = watched.into_iter().map(B256::from).collect();
        let topics = json!([lease_event_topics(), ids]);
        let logs = match self
            .chain
            .logs_between(self.chain.config().escrow, &topics, (from, to))
            .await
        {
            // The node will not search that far, or the answer is too long.
            Err(RpcError::Refused { .. } | RpcError::TooLong { .. }) => return Ok(Reread::All),
            logs => logs?,
        };
        Ok(Reread::Touched(
            logs.iter()
                .filter_map(|log| log.topics.get(1))
                .map(|topic| LeaseId::from(*topic))
                .collect(),
        ))
    }

    /// Reads the slots that may have changed: those named, those never read, and, in a new block, those that do not
    /// stand at every depth yet. True when one shows less than it did, which is not told unless it is to be believed.
    async fn read_slots(
        &mut self,
        head: Head,
        reread: &Reread,
        (same_block, believed): (bool, bool),
    ) -> Result<bool, RpcError> {
        let mut behind = false;
        let due: Vec<LeaseId> = {
            let mut leases = self.registry.leases();
            leases.retain(|_, sender| sender.receiver_count() > 0);
            let is_due = |lease: &LeaseId, seen: &Option<LeaseSeen>| match (reread, seen) {
                (_, None) | (Reread::All, _) => true,
                (Reread::Touched(touched), _) if touched.contains(lease) => true,
                (_, Some(seen)) => !same_block && !seen.is_settled(),
            };
            leases
                .iter()
                .filter(|(lease, sender)| is_due(lease, &sender.borrow()))
                .map(|(lease, _)| *lease)
                .collect()
        };
        for batch in due.chunks(READ_BATCH) {
            let seen = try_join_all(batch.iter().map(|lease| self.read_slot(*lease, head))).await?;
            let now = Instant::now();
            let registry = self.registry.clone();
            let leases = registry.leases();
            for mut seen in seen {
                if let Some(sender) = leases.get(&seen.lease) {
                    self.closings.hold_back(&mut seen, sender.borrow().as_ref(), now);
                    sender.send_if_modified(|known| match known {
                        Some(known) if known.same_slots(&seen) => false,
                        Some(known) if !believed && seen.is_behind(known) => {
                            behind = true;
                            false
                        }
                        _ => {
                            *known = Some(seen);
                            true
                        }
                    });
                }
            }
        }
        let registry = self.registry.clone();
        self.closings.forget_all_but(&registry.leases());
        Ok(behind)
    }

    async fn read_slot(&self, lease: LeaseId, head: Head) -> Result<LeaseSeen, RpcError> {
        let read = |depth| self.chain.lease(lease, depth);
        let (latest, safe, finalized) =
            tokio::try_join!(read(Depth::Latest), read(Depth::Safe), read(Depth::Finalized))?;
        Ok(LeaseSeen {
            lease,
            head,
            latest,
            safe,
            finalized,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Slot, SlotStatus};
    use gpux_types::{Amount, UnixSeconds};

    const HEAD: Head = Head {
        number: 7,
        hash: B256::ZERO,
        parent: B256::ZERO,
        timestamp: UnixSeconds(7),
        base_fee: 0,
    };

    fn slot(deposit: u128, claimed: u128, status: SlotStatus) -> Slot {
        Slot {
            deposit: Amount::new(deposit).unwrap(),
            claimed: Amount::new(claimed).unwrap(),
            expiry: UnixSeconds(if status == SlotStatus::None { 0 } else { 100 }),
            status,
        }
    }

    #[test]
    fn each_transaction_of_a_lease_takes_its_slot_on_and_never_back() {
        use SlotStatus::{Closed, None, Open};
        let life = [
            slot(0, 0, None),
            slot(50, 0, Open),
            slot(80, 0, Open),
            slot(80, 20, Open),
            slot(80, 30, Closed),
        ];
        for (early, before) in life.iter().enumerate() {
            for (late, after) in life.iter().enumerate() {
                assert_eq!(before.is_behind(after), early < late, "{before:?} {after:?}");
            }
        }
    }

    #[tokio::test]
    async fn who_waits_for_blocks_is_woken_in_the_order_in_which_it_came() {
        let registry = Arc::new(Registry::default());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (mut head, woken) = (registry.heads().subscribe(), woken.clone());
            waiting.spawn(async move {
                head.changed().await.unwrap();
                woken.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        registry.heads().tell(HEAD);
        waiting.join_all().await;
        assert_eq!(*woken.lock().unwrap(), (0..20).collect::<Vec<_>>());
        assert!(registry.heads().subscribe().has_changed().unwrap());
    }
}
