//! Calls and logs: bounded, timed, answered with a code and a safe sentence.

use crate::support::{
    ENDLESS, LARGE, PANICS, SLOW, TestNode, UNKNOWN, WHO, address_of, bare_endpoint, lease, log_of, start, start_with,
};
use futures_util::StreamExt;
use gpux_net::{CallError, Limits, Retry};
use gpux_proto::{ErrorCode, Request, Response, StopRequest, decode, encode};
use iroh::endpoint::Connection;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const ALPN: &[u8] = b"gpux/calls/1";

async fn pair(limits: Limits) -> (TestNode, TestNode) {
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let (provider, renter) = (
        start_with(1, &[], limits.clone(), dir()).await,
        start_with(2, &[], limits, dir()).await,
    );
    renter.net.remember(provider.ticket());
    (provider, renter)
}

async fn stop(nodes: (TestNode, TestNode)) {
    nodes.0.net.shutdown().await;
    nodes.1.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_and_the_answerer_knows_who_asked() {
    let (provider, renter) = pair(Limits::default()).await;
    let answer = renter
        .net
        .call(provider.id(), &Request::Status(lease(5)))
        .await
        .unwrap();
    assert_eq!(answer, Response::Accepted);
    let answer = renter
        .net
        .call(provider.id(), &Request::Status(lease(WHO)))
        .await
        .unwrap_err();
    assert_eq!(answer.refusal().unwrap().message, format!("asked by {}", renter.id()));

    let mut times: Vec<_> = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        renter
            .net
            .call(provider.id(), &Request::Status(lease(5)))
            .await
            .unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "call on a kept connection: p50 {} us, p95 {} us",
        times[100].as_micros(),
        times[190].as_micros()
    );
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_called_node_can_call_back_over_the_same_connection() {
    let (provider, renter) = pair(Limits::default()).await;
    let unknown = provider.net.call(renter.id(), &Request::Status(lease(5))).await;
    assert!(
        matches!(unknown, Err(CallError::Dial { .. })),
        "it knows no address: {unknown:?}"
    );
    renter
        .net
        .call(provider.id(), &Request::Status(lease(5)))
        .await
        .unwrap();
    provider
        .net
        .call(renter.id(), &Request::Status(lease(5)))
        .await
        .unwrap();
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_its_code_and_sentence() {
    let (provider, renter) = pair(Limits::default()).await;
    let refused = renter
        .net
        .call(provider.id(), &Request::Status(lease(UNKNOWN)))
        .await
        .unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, ErrorCode::NoSuchLease);
    assert_eq!(refused.retry(), Retry::Never);
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_times_out_on_both_sides() {
    let limits = Limits {
        call_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (provider, renter) = pair(limits).await;
    let late = renter
        .net
        .call(provider.id(), &Request::Status(lease(SLOW)))
        .await
        .unwrap_err();
    assert!(matches!(late, CallError::TimedOut { .. }), "{late:?}");
    assert!(matches!(late.retry(), Retry::After(_)));
    renter
        .net
        .call(provider.id(), &Request::Status(lease(1)))
        .await
        .unwrap();
    stop((provider, renter)).await;

    let limits = Limits {
        answer_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (provider, renter) = pair(limits).await;
    let late = renter
        .net
        .call(provider.id(), &Request::Status(lease(SLOW)))
        .await
        .unwrap_err();
    assert_eq!(late.refusal().unwrap().code, ErrorCode::Internal);
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_are_refused_both_ways() {
    let (provider, renter) = pair(Limits::default()).await;
    let request = Request::Stop(StopRequest {
        lease: lease(1),
        reason: "x".repeat(2 << 20),
    });
    let refused = renter.net.call(provider.id(), &request).await.unwrap_err();
    assert!(matches!(refused, CallError::TooLarge { .. }), "{refused:?}");
    let refused = renter
        .net
        .call(provider.id(), &Request::Status(lease(LARGE)))
        .await
        .unwrap_err();
    assert_eq!(
        refused.refusal().unwrap().code,
        ErrorCode::Internal,
        "the answerer does not send it"
    );
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_in_an_answer_ends_one_stream_only() {
    let (provider, renter) = pair(Limits::default()).await;
    let lost = renter
        .net
        .call(provider.id(), &Request::Status(lease(PANICS)))
        .await
        .unwrap_err();
    assert!(
        matches!(lost, CallError::Answer { .. } | CallError::Lost { .. }),
        "{lost:?}"
    );
    renter
        .net
        .call(provider.id(), &Request::Status(lease(1)))
        .await
        .unwrap();
    stop((provider, renter)).await;
}

/// Sends bytes on a stream of their own and gives what comes back.
async fn send_raw(connection: &Connection, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
    // The answerer may stop reading before everything is sent.
    if send.write_all(bytes).await.is_ok() {
        send.finish().ok();
    }
    recv.read_to_end(1 << 20).await.map_err(|error| error.to_string())
}

fn code_of(answer: &[u8]) -> ErrorCode {
    match decode::<Response>(answer).unwrap() {
        Response::Error(error) => error.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_with_a_code_or_a_closed_stream_and_harms_nobody() {
    let node = start(1, &[]).await;
    let hostile = bare_endpoint(9, &[]).await;
    let connection = hostile.connect(address_of(&node.ticket()), ALPN).await.unwrap();
    let mut large = vec![1; 3 << 20];
    assert_eq!(
        code_of(&send_raw(&connection, &large).await.unwrap()),
        ErrorCode::BadRequest
    );
    large.truncate((1 << 20) + 1);
    assert_eq!(
        code_of(&send_raw(&connection, &large).await.unwrap()),
        ErrorCode::BadRequest
    );
    for garbage in [
        &b""[..],
        &[1],
        &[1, 0xff, 0xff],
        &[77, 1, 2, 3],
        &[1, 1, 250, 255, 255, 255, 255, 255, 255, 255],
    ] {
        assert_eq!(
            code_of(&send_raw(&connection, garbage).await.unwrap()),
            ErrorCode::BadRequest,
            "{garbage:?}"
        );
    }
    let mut call = vec![1];
    call.extend(encode(&Request::Status(lease(1))));
    call.push(0);
    assert_eq!(
        code_of(&send_raw(&connection, &call).await.unwrap()),
        ErrorCode::BadRequest,
        "left-over bytes"
    );
    assert_eq!(
        send_raw(&connection, &[3, 9, 9]).await.unwrap(),
        b"",
        "a senseless request for offers"
    );
    let refused = send_raw(&connection, &[2, 9, 9]).await.unwrap();
    assert_eq!(refused.first(), Some(&2), "a senseless request for a log");
    call.pop();
    let answer = send_raw(&connection, &call).await.unwrap();
    assert!(matches!(decode::<Response>(&answer).unwrap(), Response::Accepted));
    hostile.close().await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_calls_too_often_hears_too_many() {
    let limits = Limits {
        calls_per_second: 1,
        ..Limits::default()
    };
    let (provider, renter) = pair(limits).await;
    let mut refused = 0;
    for _ in 0..20 {
        if let Err(error) = renter.net.call(provider.id(), &Request::Status(lease(1))).await {
            assert_eq!(error.refusal().unwrap().code, ErrorCode::TooMany);
            assert!(matches!(error.retry(), Retry::After(_)));
            refused += 1;
        }
    }
    // Eleven when the two have become neighbours: asking for offers is a call too.
    assert!((8..=11).contains(&refused), "{refused} refused of 20, ten are a burst");
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_only_so_many_connections() {
    let limits = Limits {
        connections_per_peer: 2,
        ..Limits::default()
    };
    let node = start_with(1, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    let hostile = bare_endpoint(9, &[]).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(hostile.connect(address_of(&node.ticket()), ALPN).await.unwrap());
    }
    crate::support::eventually("three were closed", || {
        open.iter()
            .filter(|connection| connection.close_reason().is_some())
            .count()
            == 3
    })
    .await;
    assert_eq!(node.net.stats().connections_refused, 3);
    hostile.close().await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_connections_are_closed_and_dialled_again() {
    let limits = Limits {
        idle_connection: Duration::from_millis(200),
        ..Limits::default()
    };
    let node = start_with(1, &[], limits, Arc::new(tempfile::tempdir().unwrap())).await;
    let hostile = bare_endpoint(9, &[]).await;
    let connection = hostile.connect(address_of(&node.ticket()), ALPN).await.unwrap();
    connection.closed().await;
    hostile.close().await;
    let renter = start(2, &[]).await;
    renter.net.remember(node.ticket());
    for _ in 0..2 {
        renter.net.call(node.id(), &Request::Status(lease(1))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    stop((node, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_comes_whole_from_its_offset_and_ends() {
    let (provider, renter) = pair(Limits::default()).await;
    let mut log = renter.net.open_logs(provider.id(), &log_of(1, 90_000)).await.unwrap();
    let mut text = Vec::new();
    while let Some(bytes) = log.next().await {
        text.extend(bytes.unwrap());
    }
    let expected: String = (90_000..100_000).map(|line| format!("line {line}\n")).collect();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    stop((provider, renter)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_log_says_why_and_an_abandoned_one_ends_the_answer() {
    let limits = Limits {
        calls: 1,
        ..Limits::default()
    };
    let (provider, renter) = pair(limits).await;
    let mut log = renter.net.open_logs(provider.id(), &log_of(UNKNOWN, 0)).await.unwrap();
    let refused = log.next().await.unwrap().unwrap_err();
    assert_eq!(refused.refusal().unwrap().code, ErrorCode::NoSuchLease);
    assert!(log.next().await.is_none());

    let mut log = renter.net.open_logs(provider.id(), &log_of(ENDLESS, 0)).await.unwrap();
    log.next().await.unwrap().unwrap();
    let mut second = renter.net.open_logs(provider.id(), &log_of(ENDLESS, 0)).await.unwrap();
    let busy = second.next().await.unwrap().unwrap_err();
    assert_eq!(
        busy.refusal().unwrap().code,
        ErrorCode::TooMany,
        "the one place is taken"
    );
    drop(log);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut log = renter.net.open_logs(provider.id(), &log_of(ENDLESS, 0)).await.unwrap();
        if log.next().await.unwrap().is_ok() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the place of an abandoned log is never free again"
        );
    }
    stop((provider, renter)).await;
}
