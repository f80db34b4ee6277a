//! The daemon's side of the local API, with answers that are written down. Only for what a real daemon cannot be made to
//! say at will; whole jobs over real daemons are in `gpux-e2e`.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

const TOKEN: &str = "a token";

/// What is answered to a method and path: a status and a body.
pub(crate) type Answers = HashMap<(&'static str, &'static str), (u16, String)>;

/// Listens as a daemon of `dir` does. The thread ends with the test's process.
pub(crate) fn listen(dir: &Path, mut answers: Answers) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = serde_json::json!({ "pid": 1, "socket": listener.local_addr().unwrap(), "ticket": "" });
    std::fs::write(dir.join("daemon.json"), running.to_string()).unwrap();
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    answers.entry(("GET", "/v1/daemon")).or_insert((200, "{}".into()));
    let answers = Arc::new(answers);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || answer(&stream.unwrap(), &answers));
        }
    });
}

/// Answers one request. Whoever calls without the token gets no document.
fn answer(mut stream: &TcpStream, answers: &Answers) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let (mut length, mut known) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        known |= name.eq_ignore_ascii_case("authorization") && value == format!("Bearer {TOKEN}");
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let found = answers
        .iter()
        .find(|((wanted, at), _)| *wanted == method && *at == path);
    let (status, body) = match found {
        Some((_, (status, body))) if known => (*status, body.as_str()),
        _ => (404, "no such answer was written down"),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .ok();
}
