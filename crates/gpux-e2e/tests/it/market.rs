//! A devnet of a test's own, driven by the real binary. Its end ends all that it started, also when the test fails.

use super::{
    job::{self, Job},
    process::{Process, leftovers, runtime_folders},
    rpc::{Rpc, Transfer},
    secrets,
    wait::{vanish, wait_for},
};
use gpux_api::{CostView, JobList, JobView, LeaseView, OfferView, OffersView};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long a devnet may take to start, and a command to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long the kernel may take to end what a stopped devnet had.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);

/// A whole market.
#[derive(Debug)]
pub(crate) struct Market {
    /// Holds everything; removed at the end.
    home: tempfile::TempDir,
    pub(crate) rpc: Rpc,
    pub(crate) token: String,
    pub(crate) escrow: String,
    daemons: Vec<Daemon>,
    /// What the test started by itself.
    children: Vec<Child>,
}

/// One daemon of the market.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    name: String,
    pub(crate) process: Process,
    pub(crate) dir: PathBuf,
}

/// The binary under test: `GPUX`, else the one that was built beside this test.
pub(crate) fn gpux() -> PathBuf {
    if let Some(path) = std::env::var_os("GPUX") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("gpux");
    assert!(
        built.exists(),
        "{} is missing: run `cargo build -p gpux`, or set GPUX",
        built.display()
    );
    built
}

impl Market {
    /// Starts one, and waits until the renter has heard every offer.
    pub(crate) fn start(providers: usize) -> Self {
        Self::start_logging(providers, None)
    }

    /// The same, with all that its daemons can log in their logs.
    pub(crate) fn start_that_tells_all(providers: usize) -> Self {
        Self::start_logging(providers, Some("trace"))
    }

    fn start_logging(providers: usize, level: Option<&str>) -> Self {
        // Whoever starts a daemon may have none: its files are private all the same.
        rustix::process::umask(rustix::fs::Mode::empty());
        let home = tempfile::Builder::new().prefix("gpux-e2e-").tempdir().unwrap();
        job::write_image(&home.path().join("image"));
        let mut market = Self {
            home,
            rpc: Rpc::new("http://127.0.0.1:0"),
            token: String::new(),
            escrow: String::new(),
            daemons: Vec::new(),
            children: Vec::new(),
        };
        let count = providers.to_string();
        let mut up = market.command(&["devnet", "up", "--providers", &count, "--block-time", "1s", "--json"]);
        if let Some(level) = level {
            up.env("GPUX_LOG", level);
        }
        // Where the project's own anvil is found.
        let up = up
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .output()
            .unwrap();
        assert!(up.status.success(), "gpux devnet up: {up:?}");
        let view: Value = serde_json::from_slice(&up.stdout).unwrap();
        market.rpc = Rpc::new(text(&view["rpc_url"]));
        market.token = text(&view["token"]).to_owned();
        market.escrow = text(&view["escrow"]).to_owned();
        let processes = view["processes"].as_array().unwrap();
        market.daemons = processes.iter().filter_map(daemon).collect();
        wait_for("all offers", PATIENCE, || {
            let offers: OffersView = market.ask(&["offers"]);
            (offers.offers.len() == providers).then_some(())
        });
        market
    }

    /// The folder of this test's own files.
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// A command of the product, not yet started.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(gpux());
        command
            .args(words)
            .env("GPUX_HOME", self.path())
            .env_remove("GPUX_DIR")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary runs")
    }

    /// What a command that must succeed says to programs.
    pub(crate) fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> T {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let output = self.run(&words);
        assert!(output.status.success(), "gpux {}: {output:?}", words.join(" "));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("gpux {}: {error}", words.join(" ")))
    }

    /// The daemon of that name.
    pub(crate) fn daemon(&self, name: &str) -> Daemon {
        self.daemons
            .iter()
            .find(|daemon| daemon.name == name)
            .expect("a daemon of that name")
            .clone()
    }

    /// The providers' daemons.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons.iter().filter(|daemon| daemon.name.starts_with("provider"))
    }

    /// Where the daemon's owner is paid, as transfers write it.
    pub(crate) fn address(&self, daemon: &Daemon) -> String {
        let dir = daemon.dir.to_str().unwrap();
        let wallet: Value = self.ask(&["--dir", dir, "wallet", "address"]);
        text(&wallet["address"]).to_lowercase()
    }

    /// The job's lease on the node of that daemon.
    pub(crate) fn lease_on<'a>(&self, job: &'a JobView, daemon: &Daemon) -> &'a LeaseView {
        let address = self.address(daemon);
        let mut leases = job.leases.iter();
        leases
            .find(|lease| lease.provider.to_lowercase() == address)
            .expect("a lease on that provider")
    }

    /// Starts a daemon again that was killed.
    pub(crate) fn restart(&mut self, name: &str) {
        let dir = self.daemon(name).dir;
        let process = self.start_daemon(&dir);
        self.replace(name, process);
    }

    /// Puts a provider that cheats in an honest one's place: the same node, wallet and price, and waits until the renter
    /// has heard its new offer.
    pub(crate) fn corrupt(&mut self, name: &str, lie: &str) {
        let dir = self.end(name);
        let mut cheat = Command::new(env!("CARGO_BIN_EXE_gpux-e2e-cheat"));
        cheat.arg(lie).arg(&dir).current_dir(self.path()).stdin(Stdio::null());
        let began = Instant::now();
        let process = self.spawn_daemon(cheat, &dir);
        self.replace(name, process);
        self.await_offer(name, began);
    }

    /// Starts a daemon again with another configuration, where its peers know it to be.
    pub(crate) fn reconfigure(&mut self, name: &str, change: impl Fn(&str) -> String) {
        let running = fs::read(self.daemon(name).dir.join("daemon.json")).unwrap();
        let running: Value = serde_json::from_slice(&running).unwrap();
        let (_, socket) = text(&running["ticket"]).rsplit_once('@').expect("a ticket");
        let path = self.end(name).join("config.toml");
        let config = fs::read_to_string(&path).unwrap();
        let config = config.replace("[\"127.0.0.1:0\"]", &format!("[\"{socket}\"]"));
        assert!(config.contains(socket), "it listens for peers at {socket}: {config}");
        fs::write(&path, change(&config)).unwrap();
        self.restart(name);
    }

    /// Ends a daemon as its owner does, and tells where its folder is.
    fn end(&self, name: &str) -> PathBuf {
        let Daemon { process, dir, .. } = self.daemon(name);
        process.signal("TERM");
        wait_for("the daemon to end", PATIENCE, || (!process.runs()).then_some(()));
        dir
    }

    /// Waits until the renter has heard an offer of the provider that is newer.
    pub(crate) fn await_offer(&self, name: &str, began: Instant) {
        let address = self.address(&self.daemon(name));
        wait_for("the renter to hear of it", PATIENCE, || {
            let offers: OffersView = self.ask(&["offers"]);
            let mut its = offers.offers.iter();
            let fresh = |offer: &&OfferView| Duration::from(offer.age) < began.elapsed();
            its.find(|offer| offer.provider.to_lowercase() == address)
                .filter(fresh)
                .map(drop)
        });
    }

    /// Ends what the test started by itself with the market.
    pub(crate) fn adopt(&mut self, child: Child) {
        self.children.push(child);
    }

    fn replace(&mut self, name: &str, process: Process) {
        self.daemons
            .iter_mut()
            .filter(|daemon| daemon.name == name)
            .for_each(|daemon| daemon.process = process);
    }

    /// Starts a daemon in `dir` and waits until it answers: a command that finds none would start another. It ends with the
    /// market.
    pub(crate) fn start_daemon(&mut self, dir: &Path) -> Process {
        let mut command = self.command(&["daemon", "--dir"]);
        command.arg(dir).env("NO_COLOR", "1");
        self.spawn_daemon(command, dir)
    }

    fn spawn_daemon(&mut self, mut daemon: Command, dir: &Path) -> Process {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("daemon.log"))
            .unwrap();
        let child = daemon.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        wait_for("the started daemon to answer", PATIENCE, || {
            let running = fs::read(dir.join("daemon.json")).ok()?;
            let running: Value = serde_json::from_slice(&running).ok()?;
            (running["pid"] == pid).then_some(())
        });
        Process::of(pid).expect("the daemon runs")
    }

    /// Writes the job's file and starts it without following it.
    pub(crate) fn start_job(&self, job: &Job) -> JobView {
        let file = self.write_job(job);
        self.ask(&["run", &file, "-y", "--detach", "--output", &self.output(job)])
    }

    /// Writes the job's file and starts it with a command that follows it, once the job is known.
    pub(crate) fn follow(&self, job: &Job) -> Child {
        let (file, output) = (self.write_job(job), self.output(job));
        let mut command = self.command(&["run", &file, "-y", "--output", &output]);
        let mut follower = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.await_job(&mut follower, job.name);
        follower
    }

    /// Waits until the job that the command starts is known.
    pub(crate) fn await_job(&self, follower: &mut Child, name: &str) {
        wait_for("the job to be known", PATIENCE, || {
            let ended = follower.try_wait().unwrap();
            assert!(ended.is_none(), "gpux run ended before there was a job: {ended:?}");
            let list: JobList = self.ask(&["ps", "--all"]);
            list.jobs.into_iter().find(|known| known.name == name).map(drop)
        });
    }

    pub(crate) fn write_job(&self, job: &Job) -> String {
        let file = self.path().join(format!("{}.yaml", job.name));
        fs::write(&file, job.text()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Where a job's results go.
    pub(crate) fn output(&self, job: &Job) -> String {
        self.path()
            .join(format!("{}-out", job.name))
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// The job as it is now.
    pub(crate) fn job(&self, name: &str) -> JobView {
        let list: JobList = self.ask(&["ps", "--all"]);
        list.jobs
            .into_iter()
            .find(|job| job.name == name)
            .expect("a job of that name")
    }

    /// The job, once `ready` says so.
    pub(crate) fn job_when(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        ready: impl Fn(&JobView) -> bool,
    ) -> JobView {
        wait_for(what, limit, || Some(self.job(name)).filter(&ready))
    }

    pub(crate) fn cost(&self, name: &str) -> CostView {
        self.ask(&["cost", name])
    }

    /// What the escrow paid out so far.
    pub(crate) fn payments(&self) -> Vec<Transfer> {
        let transfers = self.rpc.transfers(&self.token).into_iter();
        transfers.filter(|transfer| transfer.from == self.escrow).collect()
    }

    /// Fails the test unless every part of the job has its output on the disk.
    pub(crate) fn assert_outputs(&self, job: &Job) {
        for index in 0..job.parts {
            let (name, expected) = job::output_of(index);
            let path = Path::new(&self.output(job)).join(name);
            let found = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in &self.daemons {
                let log = fs::read_to_string(daemon.dir.join("daemon.log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
                eprintln!("---- {} ends with\n{}", daemon.name, tail.join("\n"));
            }
        }
        for child in &mut self.children {
            // One that ended is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
        let dirs: Vec<&Path> = self.daemons.iter().map(|daemon| daemon.dir.as_path()).collect();
        let outside = runtime_folders(&dirs);
        let told = match std::thread::panicking() {
            true => Vec::new(),
            false => secrets::told(self.path(), dirs.iter().copied()),
        };
        let down = self.run(&["devnet", "down", "--purge"]);
        if std::thread::panicking() {
            eprintln!(
                "---- stopping the devnet: {}, left behind: {:?}",
                down.status,
                leftovers(self.path())
            );
            return;
        }
        assert!(down.status.success(), "stopping the devnet: {down:?}");
        assert!(
            told.is_empty(),
            "secrets where they do not belong:\n{}",
            told.join("\n")
        );
        let left: Vec<_> = outside.iter().filter(|folder| folder.exists()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        // The kernel takes a disk down a moment after its last user.
        vanish("what the devnet had", LEAVES_WITHIN, || leftovers(self.path()));
    }
}

/// Changes a configuration in which each of these words stands once.
pub(crate) fn replacing(words: &[(&str, &str)]) -> impl Fn(&str) -> String {
    move |config| {
        words.iter().fold(config.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from} stands once in {text}");
            text.replace(from, to)
        })
    }
}

fn daemon(process: &Value) -> Option<Daemon> {
    let name = text(&process["name"]).to_owned();
    let pid = u32::try_from(process["pid"].as_u64()?).ok()?;
    (name != "chain").then(|| Daemon {
        name,
        process: Process::of(pid).expect("the daemon runs"),
        dir: PathBuf::from(text(&process["dir"])),
    })
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
