//! A relay as a program: it runs until it is told to stop. Called by `gpux relay`; it has no folder, no wallet, no chain.

pub use gpux_net::{RelayCertificate, RelayConfig, RelayError, RelayTls};

use crate::error_chain;
use gpux_net::Relay;
use tokio::signal::unix::{SignalKind, signal};

/// A relay that was asked for could not be, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunRelayError {
    /// It could not be started, or failed.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The signals that end it cannot be heard.
    #[error("listening to signals")]
    Signals(#[source] std::io::Error),
}

/// Relays until SIGINT or SIGTERM; `ready` is told the URL once nodes can call it.
///
/// # Errors
/// When it cannot listen, has no certificate, or ends by itself.
pub async fn run_relay(config: RelayConfig, ready: impl FnOnce(&str)) -> Result<(), RunRelayError> {
    // Heard from the beginning: who is told the URL may end it.
    let mut terminate = signal(SignalKind::terminate()).map_err(RunRelayError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunRelayError::Signals)?;
    let mut relay = Relay::start(config).await?;
    ready(relay.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        why = relay.ended() => return Err(why.into()),
    }
    if let Err(error) = relay.shutdown().await {
        tracing::warn!(error = %error_chain(&error), "a task of the relay failed");
    }
    Ok(())
}
