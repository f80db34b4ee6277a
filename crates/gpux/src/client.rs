//! Talks to the daemon's local HTTP API, and starts a daemon when none runs.

use crate::failure::{Failure, failed};
use futures_util::{Stream, StreamExt};
use gpux_api::{API_PREFIX, ErrorCode, ErrorDocument, MAX_PAGE, Paged};
use gpux_node::DaemonDir;
use reqwest::{Method, RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};
use std::{path::Path, time::Duration};

/// How long a started daemon may take until it answers. Opening an encrypted wallet takes most of it.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one answer may take: the slowest is a plan whose app checks a large scene in a container.
const CALL_TIMEOUT: Duration = Duration::from_secs(600);
/// The longest line of a stream of documents.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A daemon that answers.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// The daemon of `dir`, started when none runs there.
    pub(crate) async fn connect(dir: &Path) -> Result<Self, Failure> {
        if let Some(client) = Self::running(dir).await? {
            return Ok(client);
        }
        let pid = start_daemon(dir)?;
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while tokio::time::Instant::now() < deadline {
            if let Some(client) = Self::running(dir).await? {
                return Ok(client);
            }
            if has_ended(pid) && !lost_a_race(dir) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let what = if has_ended(pid) {
            "ended at once"
        } else {
            "did not answer"
        };
        let log = DaemonDir::new(dir).log();
        let tail = gpux_node::tail_of_file(&log, 10).unwrap_or_default();
        Err(Failure::new(
            ErrorCode::Unreachable,
            format!("starting the daemon of {}: it {what}\n{tail}", dir.display()),
        )
        .with_hint(format!(
            "read {}, or run `gpux daemon --dir {}` in the foreground",
            log.display(),
            dir.display()
        )))
    }

    /// The daemon of `dir` when one answers there.
    pub(crate) async fn running(dir: &Path) -> Result<Option<Self>, Failure> {
        let Some(address) = DaemonDir::new(dir).read_api_address() else {
            return Ok(None);
        };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .no_proxy()
            .build();
        let http = http.map_err(|error| failed(ErrorCode::Internal, "preparing to talk to the daemon", &error))?;
        let client = Self {
            http,
            base: format!("http://{}{API_PREFIX}", address.socket),
            token: address.token,
        };
        let answer = client
            .request(Method::GET, "/daemon")
            .timeout(Duration::from_secs(5))
            .send()
            .await;
        match answer {
            Ok(response) if response.status().is_success() => Ok(Some(client)),
            Ok(response) => Err(refusal(response).await),
            Err(_) => Ok(None),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }

    /// The document at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        document(path, self.request(Method::GET, path)).await
    }

    /// The list at `path`, put together from its pages: all of it, or its first `limit` entries.
    pub(crate) async fn list<T: DeserializeOwned + Paged>(&self, path: &str, limit: Option<u32>) -> Result<T, Failure> {
        let all = usize::try_from(limit.unwrap_or(u32::MAX)).unwrap_or(usize::MAX);
        let mut list: T = self.get(&page_of(path, limit, None)).await?;
        while let Some(after) = list.next().filter(|_| list.count() < all) {
            let left = all.saturating_sub(list.count());
            let left = limit.and(u32::try_from(left).ok());
            let following: T = self.get(&page_of(path, left, Some(after))).await?;
            if following.count() == 0 {
                let text = format!("reading the daemon's answer to {path}: a page that others follow is empty");
                return Err(Failure::new(ErrorCode::Internal, text));
            }
            list.append(following);
        }
        Ok(list)
    }

    /// The answer to `body` sent to `path`.
    pub(crate) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        document(path, self.request(Method::POST, path).json(body)).await
    }

    /// The documents that `path` sends, one a line, until it ends.
    pub(crate) async fn stream<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<T, Failure>> + Unpin + use<T>, Failure> {
        let sent = self.request(Method::GET, path).send().await;
        let response =
            sent.map_err(|error| failed(ErrorCode::Unreachable, &format!("asking the daemon for {path}"), &error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(Box::pin(lines(response).map(|line| {
            let line = line?;
            serde_json::from_slice(&line)
                .map_err(|error| failed(ErrorCode::Internal, "reading the daemon's answer", &error))
        })))
    }
}

/// Where a page of a list is asked for.
fn page_of(path: &str, limit: Option<u32>, after: Option<&str>) -> String {
    let limit = limit.map(|limit| format!("limit={}", limit.min(MAX_PAGE)));
    let after = after.map(|after| format!("after={after}"));
    let wanted: Vec<String> = [limit, after].into_iter().flatten().collect();
    let mark = match (wanted.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{path}{mark}{}", wanted.join("&"))
}

async fn document<T: DeserializeOwned>(path: &str, request: RequestBuilder) -> Result<T, Failure> {
    let sent = request.timeout(CALL_TIMEOUT).send().await;
    let response = sent.map_err(|error| {
        let code = if error.is_timeout() {
            ErrorCode::TimedOut
        } else {
            ErrorCode::Unreachable
        };
        failed(code, &format!("asking the daemon for {path}"), &error)
    })?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    response.json().await.map_err(|error| {
        failed(
            ErrorCode::Internal,
            &format!("reading the daemon's answer to {path}"),
            &error,
        )
    })
}

async fn refusal(response: Response) -> Failure {
    let status = response.status();
    match response.json::<ErrorDocument>().await {
        Ok(document) => document.error.into(),
        Err(_) => Failure::new(ErrorCode::Internal, format!("asking the daemon: it answered {status}")),
    }
}

fn lines(response: Response) -> impl Stream<Item = Result<Vec<u8>, Failure>> {
    let state = (response, Vec::<u8>::new());
    futures_util::stream::unfold(state, |(mut response, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                buffer.pop();
                return Some((Ok(buffer), (response, rest)));
            }
            if buffer.len() > MAX_LINE_BYTES {
                let failure = Failure::new(ErrorCode::Internal, "reading the daemon's answer: a line is too long");
                return Some((Err(failure), (response, Vec::new())));
            }
            match response.chunk().await {
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
                Ok(None) => return None,
                Err(error) => {
                    let failure = failed(ErrorCode::Unreachable, "following the daemon", &error);
                    return Some((Err(failure), (response, Vec::new())));
                }
            }
        }
    })
}

/// Whether the process that we started is over. Nobody waits for it, so that it stays known as a zombie.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

/// Whether our daemon ended because another command has just started one: that one will answer soon.
fn lost_a_race(dir: &Path) -> bool {
    gpux_node::tail_of_file(&DaemonDir::new(dir).log(), 3).is_ok_and(|tail| tail.contains("another one runs in"))
}

/// Starts a daemon and gives its process id.
fn start_daemon(dir: &Path) -> Result<u32, Failure> {
    let files = DaemonDir::new(dir);
    if !files.config().exists() {
        let message = format!(
            "starting the daemon of {}: there is no {}",
            dir.display(),
            files.config().display()
        );
        return Err(Failure::new(ErrorCode::InvalidInput, message).with_hint(
            "`gpux devnet up` makes a whole market on this machine; docs/running-a-node.md shows a configuration",
        ));
    }
    gpux_node::spawn_daemon(dir).map_err(|error| {
        failed(
            ErrorCode::Internal,
            &format!("starting the daemon of {}", dir.display()),
            &error,
        )
    })
}
