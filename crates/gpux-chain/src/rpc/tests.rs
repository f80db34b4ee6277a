//! Tests of the transport against hostile servers.

use super::*;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TIMEOUT: Duration = Duration::from_millis(500);
const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

/// A server that sends one answer to whatever it is asked, and a client of it. It hangs up unless it is to `linger`.
async fn answering(head: &str, body: Vec<u8>, linger: bool) -> Rpc {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret-access-key", listener.local_addr().unwrap());
    let head = head.to_owned();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = [0; 4_096];
        let _ = stream.read(&mut question).await.unwrap();
        // The client may hang up in the middle of a hostile answer.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&body).await;
        if linger {
            std::future::pending::<()>().await;
        }
    });
    Rpc::new(&url, TIMEOUT).unwrap()
}

async fn ask(head: &str, body: impl Into<Vec<u8>>) -> RpcError {
    let rpc = answering(head, body.into(), false).await;
    rpc.call::<String>("eth_chainId", json!([])).await.unwrap_err()
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let error = ask(OK, vec![b' '; MAX_ANSWER_BYTES + 1]).await;
    assert!(
        matches!(
            error,
            RpcError::TooLong {
                limit: MAX_ANSWER_BYTES,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_a_timeout_and_may_be_asked_for_again() {
    let rpc = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"{".to_vec(), true).await;
    let error = rpc.call::<String>("eth_chainId", json!([])).await.unwrap_err();
    assert!(matches!(error, RpcError::Timeout { limit: TIMEOUT, .. }), "{error:?}");
    assert!(matches!(error.retry(), Retry::After(_)));
}

#[tokio::test]
async fn nonsense_is_an_error_and_no_panic() {
    for body in ["", "nonsense", "[1]", "{\"result\":{}}", "{\"result\":\"\u{1}"] {
        let error = ask(OK, body).await;
        assert!(matches!(error, RpcError::Decode { .. }), "{body:?}: {error:?}");
    }
    assert!(matches!(ask(OK, "{}").await, RpcError::Missing { .. }));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_its_bounded_words_and_its_revert_data() {
    let words = "x\\n".repeat(1_000);
    let body = format!(r#"{{"id":1,"error":{{"code":3,"message":"{words}","data":{{"data":"0xdeadbeef"}}}}}}"#);
    let error = ask(OK, body).await;
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.code, refusal.message.len()), (3, MAX_MESSAGE_CHARS));
    assert_eq!(refusal.data, Some(Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef])));
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn a_busy_node_says_how_long_to_wait_and_is_believed_within_reason() {
    let busy = |secs: &str| format!("HTTP/1.1 429 Busy\r\nretry-after: {secs}\r\nconnection: close\r\n\r\n");
    assert_eq!(ask(&busy("7"), "").await.retry(), Retry::After(Duration::from_secs(7)));
    assert_eq!(ask(&busy("999999"), "").await.retry(), Retry::After(MAX_REST));
    let error = ask("HTTP/1.1 401 No\r\nconnection: close\r\n\r\n", "").await;
    assert!(matches!(error, RpcError::Status { status: 401, .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    let limited = ask(OK, r#"{"error":{"code":-32005,"message":"rate limit exceeded"}}"#).await;
    assert!(matches!(limited.retry(), Retry::After(_)) && limited.is_outage());
}

#[tokio::test]
async fn no_error_shows_the_url_with_its_access_key() {
    let rpc = answering("", Vec::new(), false).await;
    let error = rpc.call::<String>("eth_chainId", json!([])).await.unwrap_err();
    let mut text = format!("{error:?} {rpc:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(!text.contains("secret-access-key"), "{text}");
}

#[test]
fn only_http_urls_with_a_host_are_taken() {
    for url in ["", "ftp://host", "/path", "http://", "127.0.0.1:8545"] {
        assert!(matches!(Rpc::new(url, TIMEOUT), Err(RpcClientError::Url)), "{url:?}");
    }
}
