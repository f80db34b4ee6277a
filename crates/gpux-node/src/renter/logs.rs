//! What a job's processes wrote, read from the nodes that ran them.

use super::{JobHandle, Node, record::Try};
use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use gpux_api::LogLine;
use gpux_proto::LogsRequest;
use gpux_types::{NodeId, PartIndex, is_obeyed};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How many lines may wait for a slow reader. When it is full the node's stream waits.
const LINES: usize = 256;
/// The longest line; the rest of it is cut.
const MAX_LINE: usize = 16 << 10;
/// How soon a node that does not know a part yet is asked again; twice as long each time, up to the maximum.
const AGAIN_MIN: Duration = Duration::from_millis(5);
/// See [`AGAIN_MIN`].
const AGAIN_MAX: Duration = Duration::from_millis(640);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSelection {
    pub(crate) part: Option<PartIndex>,
    pub(crate) node: Option<NodeId>,
    pub(crate) only_failed: bool,
    pub(crate) tail: Option<usize>,
    pub(crate) follow: bool,
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
    let (mut tries, mut views) = (job.tries(), job.watch());
    let mut known: Vec<(PartIndex, u32)> = Vec::new();
    let mut reading = FuturesUnordered::new();
    loop {
        let newest: Vec<(PartIndex, Try)> = tries
            .borrow_and_update()
            .iter()
            .map(|(part, at)| (*part, *at))
            .collect();
        for (part, at) in newest {
            let wanted = selection.part.is_none_or(|only| only == part)
                && selection.node.is_none_or(|only| only == at.node)
                && (!selection.only_failed || at.failed);
            if wanted && !known.contains(&(part, at.attempt)) {
                known.push((part, at.attempt));
                let one = read_one(node, job, (part, at), selection, sender);
                if selection.follow {
                    reading.push(one);
                } else {
                    one.await;
                }
            }
        }
        if !selection.follow {
            return;
        }
        tokio::select! {
            Some(()) = reading.next() => {}
            Ok(()) = tries.changed() => {}
            _ = views.wait_for(|view| view.state.is_over()) => break,
        }
    }
    while reading.next().await.is_some() {}
}

async fn read_one(
    node: &Arc<Node>,
    job: &JobHandle,
    (part, at): (PartIndex, Try),
    selection: LogSelection,
    sender: &mpsc::Sender<LogLine>,
) {
    let line = |text: String| LogLine {
        node: at.node,
        part,
        values: job.values_of(part),
        text,
    };
    let request = LogsRequest {
        lease: at.lease,
        part,
        attempt: at.attempt,
        offset: 0,
        follow: selection.follow,
    };
    let mut again = AGAIN_MIN;
    let mut lines = Lines::new(selection.tail);
    loop {
        let mut stream = match node.net.open_logs(at.node, &request).await {
            Ok(stream) => stream,
            Err(error) => {
                let text = format!("(the node cannot be asked for its log: {})", crate::error_chain(&error));
                let _ = sender.send(line(text)).await;
                return;
            }
        };
        let mut refused = false;
        while let Some(piece) = stream.next().await {
            let Ok(bytes) = piece else {
                refused = piece.is_err_and(|error| error.refusal().is_some());
                break;
            };
            for text in lines.take(&bytes) {
                if sender.send(line(text)).await.is_err() {
                    return;
                }
            }
        }
        // A refusal: the part is still on its way there, or the node has forgotten it.
        if !refused || !selection.follow || job.view().state.is_over() {
            break;
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN_MAX);
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
    line.chars().filter(|c| *c == '\t' || !is_obeyed(*c)).collect()
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
