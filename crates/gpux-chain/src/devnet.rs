//! A chain of one's own: anvil in Optimism mode as a separate process, with the contracts and test tokens on it.
//!
//! `gpux devnet` and tests start it; it outlives the process that started it until somebody stops it. Everything that
//! is needed to use or stop it stands in `devnet.json` in its folder.

mod contracts;
mod process;

use crate::{
    built::CodeMismatch,
    client::ChainConfig,
    rpc::{Rpc, RpcClientError, RpcError},
};
use contracts::Contracts;
use gpux_types::{Address, Amount};
use process::Anvil;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    env::consts,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use process::ProcessRef;

/// The name of the file that describes a devnet, in its folder.
const INFO_FILE: &str = "devnet.json";
/// How often the newest block is asked for where a transaction is in a block at once.
const INSTANT_POLL: Duration = Duration::from_millis(50);
/// How often the newest block is asked for where blocks come every second or less often.
const BLOCK_POLL: Duration = Duration::from_millis(250);
/// The longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The devnet to start.
#[derive(Debug, Clone)]
pub struct DevnetConfig {
    /// The anvil program; [`find_anvil`] looks for one.
    pub anvil: PathBuf,
    /// The folder of its files; made when there is none. A chain that was stopped there goes on.
    pub dir: PathBuf,
    /// The chain id.
    pub chain_id: u64,
    /// Seconds between blocks; absent: a block for every transaction at once.
    pub block_secs: Option<u64>,
    /// Who gets money at the start.
    pub funding: Vec<Funding>,
}

impl DevnetConfig {
    /// The chain id of devnets: that of no public chain.
    pub const CHAIN_ID: u64 = 901;
}

/// Money for one account, out of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funding {
    /// Who gets it.
    pub address: Address,
    /// The balance of the chain's own coin from then on, in wei.
    pub wei: u128,
    /// Test DAI (18 decimals) that is added.
    pub dai: Amount,
    /// Test USDC (6 decimals) that is added.
    pub usdc: Amount,
}

/// What a devnet is: the content of its `devnet.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevnetInfo {
    /// The version of this form: [`DevnetInfo::VERSION`]. Readers refuse another one.
    pub version: u8,
    /// Where it answers.
    pub rpc_url: String,
    /// Its chain id.
    pub chain_id: u64,
    /// Seconds between blocks; absent: a block for every transaction at once.
    pub block_secs: Option<u64>,
    /// The escrow contract.
    pub escrow: Address,
    /// The node directory contract.
    pub node_directory: Address,
    /// The test tokens.
    pub tokens: Vec<DevnetToken>,
    /// The process that is the chain.
    pub anvil: ProcessRef,
}

impl DevnetInfo {
    /// The version of the form that this program writes.
    pub const VERSION: u8 = 1;

    /// The token with this symbol.
    #[must_use]
    pub fn token(&self, symbol: &str) -> Option<&DevnetToken> {
        self.tokens.iter().find(|token| token.symbol == symbol)
    }
}

/// A test token that anybody can mint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevnetToken {
    /// `DAI` or `USDC`.
    pub symbol: String,
    /// Digits behind the point.
    pub decimals: u8,
    /// The token's contract.
    pub address: Address,
}

/// A devnet that cannot be started, used or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// A file of the devnet cannot be written or read.
    #[error("opening {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no description of a devnet of this version.
    #[error("reading the devnet's description {}", path.display())]
    Info {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The description is of another version.
    #[error("reading the devnet's description {}: expected version {expected}, got {got}", path.display())]
    InfoVersion {
        /// Which file.
        path: PathBuf,
        /// The version that is read.
        expected: u8,
        /// The file's version.
        got: u8,
    },
    /// There is one in this folder.
    #[error("starting a devnet in {}: one is running there as process {pid}", dir.display())]
    Running {
        /// Which folder.
        dir: PathBuf,
        /// The process.
        pid: u32,
    },
    /// The program cannot be started.
    #[error("starting {}", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program ended, or did not say where it listens.
    #[error("starting anvil: it did not listen within {} s; its last words: {output}", limit.as_secs())]
    Silent {
        /// How long was waited.
        limit: Duration,
        /// The end of its output.
        output: String,
    },
    /// The HTTP client cannot be made.
    #[error("connecting to the devnet")]
    Client(#[source] RpcClientError),
    /// It does not do what it was asked for.
    #[error("setting up the devnet")]
    Rpc(#[source] RpcError),
    /// A contract was not deployed.
    #[error("deploying the {what} to the devnet")]
    Deploy {
        /// Which contract.
        what: &'static str,
        /// What is there instead.
        source: CodeMismatch,
    },
    /// The process does not end.
    #[error("stopping the devnet: process {pid} is still there after {} s", limit.as_secs())]
    StillThere {
        /// The process.
        pid: u32,
        /// How long was waited.
        limit: Duration,
    },
}

/// A devnet that runs.
#[derive(Debug)]
pub struct Devnet {
    info: DevnetInfo,
    dir: PathBuf,
    rpc: Rpc,
    anvil: Anvil,
}

impl Devnet {
    /// Starts a chain, puts the contracts on it if they are not there, and writes `devnet.json`.
    ///
    /// # Errors
    /// When one runs in that folder already, or any of this fails; then nothing is left running.
    pub async fn start(config: DevnetConfig) -> Result<Self, DevnetError> {
        let io_error = |source| DevnetError::Io {
            path: config.dir.clone(),
            source,
        };
        fs::create_dir_all(&config.dir).map_err(io_error)?;
        if let Ok(info) = read_info(&config.dir)
            && info.anvil.is_alive()
        {
            return Err(DevnetError::Running {
                dir: config.dir,
                pid: info.anvil.pid,
            });
        }
        let (mut anvil, rpc_url) = Anvil::spawn(&config).await?;
        match Self::set_up(&config, rpc_url, &anvil).await {
            Ok((info, rpc)) => Ok(Self {
                info,
                dir: config.dir,
                rpc,
                anvil,
            }),
            Err(error) => {
                anvil.kill();
                Err(error)
            }
        }
    }

    async fn set_up(config: &DevnetConfig, rpc_url: String, anvil: &Anvil) -> Result<(DevnetInfo, Rpc), DevnetError> {
        let rpc = Rpc::new(&rpc_url, CALL_TIMEOUT).map_err(DevnetError::Client)?;
        // Anvil prints a line for every call otherwise.
        quiet(&rpc).await.map_err(DevnetError::Rpc)?;
        let contracts = Contracts::deploy(&rpc, config.chain_id, &config.funding).await?;
        start_blocks(&rpc, config.block_secs).await.map_err(DevnetError::Rpc)?;
        let token = |symbol: &str, decimals, address| DevnetToken {
            symbol: symbol.into(),
            decimals,
            address,
        };
        let info = DevnetInfo {
            version: DevnetInfo::VERSION,
            rpc_url,
            chain_id: config.chain_id,
            block_secs: config.block_secs,
            escrow: contracts.escrow,
            node_directory: contracts.node_directory,
            tokens: vec![token("DAI", 18, contracts.dai), token("USDC", 6, contracts.usdc)],
            anvil: anvil.process(),
        };
        write_info(&config.dir, &info)?;
        Ok((info, rpc))
    }

    /// The devnet that runs in a folder.
    ///
    /// # Errors
    /// When its description cannot be read.
    pub fn open(dir: &Path) -> Result<Self, DevnetError> {
        let info = read_info(dir)?;
        let rpc = Rpc::new(&info.rpc_url, CALL_TIMEOUT).map_err(DevnetError::Client)?;
        let anvil = Anvil::adopt(info.anvil);
        Ok(Self {
            info,
            dir: dir.into(),
            rpc,
            anvil,
        })
    }

    /// Where it is and what is on it.
    #[must_use]
    pub fn info(&self) -> &DevnetInfo {
        &self.info
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        self.anvil.is_alive()
    }

    /// Gives an account money, and returns when it is in a block.
    ///
    /// # Errors
    /// When the devnet does not answer.
    pub async fn fund(&self, funding: Funding) -> Result<(), DevnetError> {
        let contracts = Contracts::of(&self.info);
        contracts.fund(&self.rpc, funding).await.map_err(DevnetError::Rpc)?;
        if self.info.block_secs.is_some() {
            self.mine().await
        } else {
            Ok(())
        }
    }

    /// Makes a block now.
    ///
    /// # Errors
    /// When the devnet does not answer.
    pub async fn mine(&self) -> Result<(), DevnetError> {
        contracts::mine(&self.rpc).await.map_err(DevnetError::Rpc)
    }

    /// Calls any method of the devnet, such as `evm_increaseTime`, and drops the answer.
    ///
    /// # Errors
    /// When the devnet refuses it.
    pub async fn control(&self, method: &'static str, params: serde_json::Value) -> Result<(), DevnetError> {
        let _: Option<serde_json::Value> = self.rpc.call_opt(method, params).await.map_err(DevnetError::Rpc)?;
        Ok(())
    }

    /// Ends the process, which keeps the chain's state in its folder, and removes `devnet.json`.
    ///
    /// # Errors
    /// When the process does not end.
    pub async fn stop(mut self) -> Result<(), DevnetError> {
        self.anvil.stop().await?;
        let path = self.dir.join(INFO_FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DevnetError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

impl ChainConfig {
    /// The configuration for a devnet and one of its tokens.
    #[must_use]
    pub fn devnet(info: &DevnetInfo, token: Address) -> Self {
        Self {
            rpc_url: info.rpc_url.clone(),
            chain_id: info.chain_id,
            escrow: info.escrow,
            node_directory: info.node_directory,
            token,
            poll_interval: if info.block_secs.is_some() {
                BLOCK_POLL
            } else {
                INSTANT_POLL
            },
            call_timeout: CALL_TIMEOUT,
        }
    }
}

/// The first native anvil below one of the folders (as `npm ci` in `contracts/` installs it), else the first in the
/// search path. `path_var` is the value of `PATH`, which the caller reads.
#[must_use]
pub fn find_anvil(roots: &[PathBuf], path_var: Option<&OsStr>) -> Option<PathBuf> {
    let os = if consts::OS == "macos" { "darwin" } else { consts::OS };
    let cpu = if consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let installed = format!("contracts/node_modules/@foundry-rs/anvil-{os}-{cpu}/bin/anvil");
    let below = roots.iter().map(|root| root.join(&installed));
    let on_path = path_var
        .into_iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("anvil"));
    below.chain(on_path).find(|path| path.is_file())
}

async fn quiet(rpc: &Rpc) -> Result<(), RpcError> {
    rpc.call_opt::<serde_json::Value>("anvil_setLoggingEnabled", json!([false]))
        .await
        .map(drop)
}

async fn start_blocks(rpc: &Rpc, block_secs: Option<u64>) -> Result<(), RpcError> {
    let (method, params) = match block_secs {
        Some(secs) => ("evm_setIntervalMining", json!([secs])),
        None => ("evm_setAutomine", json!([true])),
    };
    rpc.call_opt::<serde_json::Value>(method, params).await.map(drop)
}

fn read_info(dir: &Path) -> Result<DevnetInfo, DevnetError> {
    let path = dir.join(INFO_FILE);
    let text = fs::read(&path).map_err(|source| DevnetError::Io {
        path: path.clone(),
        source,
    })?;
    let info: DevnetInfo = serde_json::from_slice(&text).map_err(|source| DevnetError::Info {
        path: path.clone(),
        source,
    })?;
    if info.version != DevnetInfo::VERSION {
        return Err(DevnetError::InfoVersion {
            path,
            expected: DevnetInfo::VERSION,
            got: info.version,
        });
    }
    Ok(info)
}

/// Written beside and renamed, so that a reader finds it whole or not at all.
fn write_info(dir: &Path, info: &DevnetInfo) -> Result<(), DevnetError> {
    let (path, draft) = (dir.join(INFO_FILE), dir.join("devnet.json.new"));
    let text = serde_json::to_vec_pretty(info).map_err(|source| DevnetError::Info {
        path: path.clone(),
        source,
    })?;
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|source| DevnetError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_anvil_comes_before_one_in_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let on_path = dir.path().join("bin");
        fs::create_dir(&on_path).unwrap();
        fs::write(on_path.join("anvil"), "").unwrap();
        let roots = [dir.path().to_path_buf()];
        assert_eq!(find_anvil(&roots, None), None);
        assert_eq!(
            find_anvil(&roots, Some(on_path.as_os_str())),
            Some(on_path.join("anvil"))
        );
        let os = if consts::OS == "macos" { "darwin" } else { consts::OS };
        let cpu = if consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
        let folder = dir
            .path()
            .join(format!("contracts/node_modules/@foundry-rs/anvil-{os}-{cpu}/bin"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("anvil"), "").unwrap();
        assert_eq!(
            find_anvil(&roots, Some(on_path.as_os_str())),
            Some(folder.join("anvil"))
        );
    }
}
