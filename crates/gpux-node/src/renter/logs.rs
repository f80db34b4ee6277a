//! What a job's processes wrote, read from the nodes that ran them.

use super::{JobHandle, Node};
use futures_util::{Stream, StreamExt};
use gpux_api::LogLine;
use gpux_proto::LogsRequest;
use gpux_types::{LeaseId, NodeId, PartIndex};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How many lines may wait for a slow reader. When it is full the node's stream waits.
const LINES: usize = 256;
/// The longest line; the rest of it is cut.
const MAX_LINE: usize = 16 << 10;
/// How often a followed job is looked at for new parts.
const PACE: Duration = Duration::from_millis(500);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSelection {
    pub(crate) part: Option<PartIndex>,
    pub(crate) only_failed: bool,
    pub(crate) tail: Option<usize>,
    pub(crate) follow: bool,
}

/// The newest try of one part, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) part: PartIndex,
    pub(crate) attempt: u32,
    pub(crate) lease: LeaseId,
    pub(crate) node: NodeId,
    pub(crate) failed: bool,
}

/// The lines of a job's parts, part by part; with `follow`, until the job is over.
pub(crate) fn logs(node: Arc<Node>, job: JobHandle, selection: LogSelection) -> impl Stream<Item = LogLine> + Send {
    let (sender, receiver) = mpsc::channel(LINES);
    let cancel = node.cancel.clone();
    let tasks = node.tasks.clone();
    tasks.spawn(async move {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = read_all(&node, &job, selection, &sender) => {}
            // The reader went away.
            () = sender.closed() => {}
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (line, receiver))
    })
}

async fn read_all(node: &Arc<Node>, job: &JobHandle, selection: LogSelection, sender: &mpsc::Sender<LogLine>) {
    let mut seen: Vec<Placed> = Vec::new();
    loop {
        let over = job.view().state.is_over();
        let placed = super::job::placements(job).await;
        let wanted = placed
            .into_iter()
            .filter(|at| selection.part.is_none_or(|part| part == at.part) && (!selection.only_failed || at.failed));
        let new: Vec<Placed> = wanted.filter(|at| !seen.contains(at)).collect();
        let reading = new.iter().map(|at| read_one(node, *at, selection, sender));
        if selection.follow {
            futures_util::future::join_all(reading).await;
        } else {
            for one in reading {
                one.await;
            }
        }
        seen.extend(new);
        if over || !selection.follow {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn read_one(node: &Arc<Node>, at: Placed, selection: LogSelection, sender: &mpsc::Sender<LogLine>) {
    let request = LogsRequest {
        lease: at.lease,
        part: at.part,
        attempt: at.attempt,
        offset: 0,
        follow: selection.follow,
    };
    let line = |text: String| LogLine {
        node: at.node,
        part: at.part,
        text,
    };
    let mut stream = match node.net.open_logs(at.node, &request).await {
        Ok(stream) => stream,
        Err(error) => {
            if error.refusal().is_none() {
                let text = format!("(the node cannot be asked for its log: {})", crate::error_chain(&error));
                let _ = sender.send(line(text)).await;
            }
            return;
        }
    };
    let mut lines = Lines::new(selection.tail);
    while let Some(Ok(bytes)) = stream.next().await {
        for text in lines.take(&bytes) {
            if sender.send(line(text)).await.is_err() {
                return;
            }
        }
    }
    for text in lines.finish() {
        if sender.send(line(text)).await.is_err() {
            return;
        }
    }
}

/// Cuts bytes into clean lines; with a tail, keeps only the last ones until the end.
struct Lines {
    rest: Vec<u8>,
    tail: Option<(usize, VecDeque<String>)>,
}

impl Lines {
    fn new(tail: Option<usize>) -> Self {
        Self {
            rest: Vec::new(),
            tail: tail.map(|count| (count.min(10_000), VecDeque::new())),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut done = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = clean(&std::mem::take(&mut self.rest));
                match &mut self.tail {
                    Some((count, kept)) => {
                        kept.push_back(line);
                        if kept.len() > *count {
                            kept.pop_front();
                        }
                    }
                    None => done.push(line),
                }
            } else if self.rest.len() < MAX_LINE {
                self.rest.push(*byte);
            }
        }
        done
    }

    fn finish(mut self) -> Vec<String> {
        let mut last = if self.rest.is_empty() {
            Vec::new()
        } else {
            self.take(b"\n")
        };
        if let Some((_, kept)) = self.tail {
            last.extend(kept);
        }
        last
    }
}

/// Text that a terminal shows and does not obey.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    line.chars().filter(|c| *c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_cleaned_and_kept_to_the_tail() {
        let mut all = Lines::new(None);
        assert_eq!(all.take(b"one\ntw"), ["one"]);
        assert_eq!(all.take(b"o\n\x1b[31mred\n"), ["two", "[31mred"]);
        assert!(all.finish().is_empty());
        let mut tail = Lines::new(Some(2));
        assert!(tail.take(b"a\nb\nc\nd").is_empty());
        assert_eq!(tail.finish(), ["c", "d"]);
    }
}
