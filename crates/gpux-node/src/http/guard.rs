//! Who may call: a process that can read the token file, from this machine, and not a web page of somebody else's.

use super::Refusal;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use gpux_api::{ErrorBody, ErrorCode};
use std::sync::Arc;

/// What a caller must show.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    token_hash: Arc<blake3::Hash>,
}

impl Guard {
    /// A guard that wants `token`.
    pub(super) fn new(token: &str) -> Self {
        Self {
            token_hash: Arc::new(blake3::hash(token.as_bytes())),
        }
    }

    fn refuses(&self, headers: &HeaderMap) -> Option<&'static str> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A name that resolves to the loopback is how a foreign page reaches local services (DNS rebinding).
        if !text(header::HOST).is_some_and(is_loopback) {
            return Some("the Host header does not name the loopback");
        }
        if text(header::ORIGIN).is_some_and(|origin| !is_own_origin(origin)) {
            return Some("the Origin header names another site");
        }
        let token = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        // Comparing hashes takes the same time wherever the tokens differ.
        match token {
            Some(token) if blake3::hash(token.as_bytes()) == *self.token_hash => None,
            Some(_) => Some("the token is not this daemon's"),
            None => Some("there is no bearer token"),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    matches!(name, "127.0.0.1" | "[::1]" | "localhost")
}

fn is_own_origin(origin: &str) -> bool {
    origin.strip_prefix("http://").is_some_and(is_loopback)
}

/// Lets a call through, or says why not.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refuses(request.headers()) {
        None => next.run(request).await,
        Some(why) => {
            let body = ErrorBody::new(ErrorCode::NotAuthorised, format!("calling the daemon: {why}"));
            Refusal(
                body.with_hint("commands read the token from the daemon's folder; run them as the user who started it"),
            )
            .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_token_on_the_loopback_without_a_foreign_origin_is_let_through() {
        let guard = Guard::new("secret");
        let good = [(header::HOST, "127.0.0.1:80"), (header::AUTHORIZATION, "Bearer secret")];
        assert_eq!(guard.refuses(&headers(&good)), None);
        let wrong = [(header::HOST, "127.0.0.1:80"), (header::AUTHORIZATION, "Bearer secreu")];
        assert!(guard.refuses(&headers(&wrong)).is_some());
        assert!(guard.refuses(&headers(&good[..1])).is_some(), "no token");
        let rebound = [
            (header::HOST, "evil.example:80"),
            (header::AUTHORIZATION, "Bearer secret"),
        ];
        assert!(guard.refuses(&headers(&rebound)).is_some());
        let foreign = [
            good[0].clone(),
            good[1].clone(),
            (header::ORIGIN, "http://127.0.0.1.evil.example"),
        ];
        assert!(guard.refuses(&headers(&foreign)).is_some());
        let own = [
            good[0].clone(),
            good[1].clone(),
            (header::ORIGIN, "http://localhost:5173"),
        ];
        assert_eq!(guard.refuses(&headers(&own)), None);
    }
}
