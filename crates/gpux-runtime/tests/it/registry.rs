//! A registry on this machine's loopback: the four requests that a pull makes, answered honestly or not.

use crate::images::Image;
use gpux_runtime::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is answered for a blob or manifest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Honest,
    /// One bit is another.
    Flipped,
    /// More comes than was named.
    Longer,
    /// Less comes.
    Shorter,
}

/// Serves one image as `org/app:v1` until it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Registry {
    pub(crate) fn serve(image: &Image, reply: impl Fn(Digest) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut answers = BTreeMap::new();
        for blob in image.blobs() {
            let digest = Digest::of(blob);
            for kind in ["blobs", "manifests"] {
                answers.insert(format!("/v2/org/app/{kind}/{digest}"), (digest, blob.clone()));
            }
        }
        let manifest = (Digest::of(&image.manifest), image.manifest.clone());
        answers.insert("/v2/org/app/manifests/v1".to_owned(), manifest);
        let (counted, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up early is not this server's concern.
                drop(answer(stream.unwrap(), &answers, &reply, &counted));
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &BTreeMap<String, (Digest, Vec<u8>)>,
    reply: &impl Fn(Digest) -> Reply,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match answers.get(path) {
        Some((digest, blob)) => ("200 OK", spoil(blob.clone(), reply(*digest))),
        None if path == "/v2/" => ("200 OK", b"{}".to_vec()),
        None => (
            "404 Not Found",
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#.to_vec(),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn spoil(mut blob: Vec<u8>, reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Honest => {}
        Reply::Flipped => blob[0] ^= 1,
        Reply::Longer => blob.extend_from_slice(&[0; 4_096]),
        Reply::Shorter => drop(blob.pop()),
    }
    blob
}
