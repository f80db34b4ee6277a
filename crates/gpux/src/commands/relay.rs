//! `gpux relay`: forwards between nodes that cannot reach each other, in the foreground, until it is told to stop.

use crate::{
    args::RelayArgs,
    failure::{Failure, failed},
    out,
};
use gpux_api::ErrorCode;
use gpux_node::relay::{RelayCertificate, RelayConfig, RelayError, RelayTls, RunRelayError, run_relay};

pub(super) async fn run(args: RelayArgs) -> Result<u8, Failure> {
    super::daemon::start_log(args.verbose, true);
    let tell = |url: &str| {
        // The one thing that a script wants of it.
        out::write_data(&format!("{url}\n")).ok();
        out::tell(&format!(
            "relaying; nodes use it by  relays = [\"{url}\"]  below [network] of their config.toml"
        ));
    };
    let ended = run_relay(config(args), tell).await;
    ended.map_err(|error| failed(code(&error), "running a relay", &error))?;
    Ok(0)
}

fn config(args: RelayArgs) -> RelayConfig {
    let files = args.cert.zip(args.key);
    let files = files.map(|(chain, key)| RelayCertificate::Files { chain, key });
    let acme = args
        .acme
        .zip(args.acme_dir)
        .map(|(contact, cache)| RelayCertificate::Acme {
            directory: args.acme_directory,
            contact,
            cache,
        });
    let http_port = args.http_port;
    let tls = files.or(acme).map(|certificate| RelayTls {
        certificate,
        quic_port: RelayTls::QUIC_PORT,
        http_port,
    });
    RelayConfig {
        listen: args.listen,
        port: args.port.unwrap_or(if tls.is_some() { 443 } else { 80 }),
        host: args.host,
        tls,
        only: args.only.into_iter().collect(),
        clients: args.max_clients,
        bytes_per_second: args.rate,
    }
}

const fn code(error: &RunRelayError) -> ErrorCode {
    match error {
        RunRelayError::Relay(RelayError::Certificate { .. } | RelayError::NoName | RelayError::Listen { .. }) => {
            ErrorCode::InvalidInput
        }
        RunRelayError::Relay(RelayError::Tls(_) | RelayError::Ended(_)) | RunRelayError::Signals(_) => {
            ErrorCode::Internal
        }
    }
}
