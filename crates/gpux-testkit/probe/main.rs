//! The program that runs inside containers under test: one verb, one fact.
//!
//! A single file without dependencies, compiled statically by the tests, so that it runs in a root file system that holds
//! nothing else. What it finds it prints; what fails it answers with the error's number as exit code.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn mkfifo(path: *const i8, mode: u32) -> i32;
    fn mount(source: *const i8, target: *const i8, kind: *const i8, flags: u64, data: *const i8) -> i32;
    fn unshare(flags: i32) -> i32;
    fn getuid() -> u32;
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    fn _exit(code: i32) -> !;
}

const SIGTERM: i32 = 15;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    if !is_contained() {
        println!(
            "this program runs in containers under test only: it tries to use up and to break out of whatever it runs in"
        );
        return ExitCode::from(253);
    }
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            println!("{error}");
            ExitCode::from(
                error
                    .raw_os_error()
                    .and_then(|number| u8::try_from(number).ok())
                    .unwrap_or(255),
            )
        }
    }
}

/// Whether the first process of the namespace is this program: true in a container, never on a host.
fn is_contained() -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    program("self").is_some() && program("self") == program("1")
}

fn run(words: &[&str]) -> io::Result<u8> {
    match words {
        ["exit", code] => return Ok(code.parse().unwrap_or(255)),
        ["print", text] => println!("{text}"),
        ["both"] => {
            println!("to standard output");
            eprintln!("to standard error");
        }
        ["now"] => println!("{}", monotonic_nanoseconds()),
        ["flood", bytes] => flood(number(bytes))?,
        ["nap", ms] => std::thread::sleep(Duration::from_millis(number(ms))),
        ["spin", ms] => spin(Duration::from_millis(number(ms))),
        ["count", ms] => count(Duration::from_millis(number(ms)))?,
        ["crash"] => crash(),
        ["eat"] => eat(),
        ["eat-in-child"] => return eat_in_child(),
        ["fill", path] => return fill(path),
        ["write", path, text] => fs::write(path, text)?,
        ["write-slowly", path, ms] => write_slowly(path, Duration::from_millis(number(ms)))?,
        ["read", path] => io::stdout().write_all(&fs::read(path)?)?,
        ["make-dir", path] => fs::create_dir_all(path)?,
        ["link", target, path] => std::os::unix::fs::symlink(target, path)?,
        ["pipe", path] => make_pipe(path)?,
        ["crowd"] => return crowd(),
        ["wait-for-term", code] => wait_for_term(code.parse().unwrap_or(1)),
        ["ignore-term"] => ignore_term(),
        ["env"] => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        ["facts"] => facts()?,
        ["loopback"] => loopback()?,
        ["outside"] => return outside(),
        ["then", rest @ ..] => return then(rest),
        _ => {
            println!("no such verb: {words:?}");
            return Ok(254);
        }
    }
    Ok(0)
}

/// Several verbs, parted by `;`, up to the first that fails.
fn then(words: &[&str]) -> io::Result<u8> {
    for verb in words.split(|word| *word == ";") {
        let code = run(verb)?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// The host's monotonic clock, which a container shares.
fn monotonic_nanoseconds() -> i64 {
    const CLOCK_MONOTONIC: i32 = 1;
    let mut time = [0, 0];
    unsafe { clock_gettime(CLOCK_MONOTONIC, &raw mut time) };
    time[0] * 1_000_000_000 + time[1]
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn c(text: &str) -> Vec<i8> {
    text.bytes().map(|byte| byte as i8).chain([0]).collect()
}

fn flood(mut bytes: u64) -> io::Result<()> {
    let block = [b'x'; 4096];
    let mut out = io::stdout().lock();
    while bytes > 0 {
        let now = bytes.min(block.len() as u64);
        out.write_all(&block[..now as usize])?;
        bytes -= now;
    }
    out.write_all(b"\nlast line\n")?;
    out.flush()
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn count(every: Duration) -> io::Result<()> {
    for number in 0_u64.. {
        println!("{number}");
        io::stdout().flush()?;
        std::thread::sleep(every);
    }
    Ok(())
}

fn crash() {
    let nowhere = std::hint::black_box(8_usize) as *mut u8;
    // SAFETY: none, and that is the point: the kernel must end this process.
    unsafe { nowhere.write_volatile(1) }
}

fn eat() {
    let mut all = Vec::new();
    loop {
        let mut block = vec![0_u8; 1 << 20];
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        all.push(std::hint::black_box(block));
    }
}

fn eat_in_child() -> io::Result<u8> {
    let status = Command::new("/proc/self/exe").arg("eat").status()?;
    println!("the child ended: {status}");
    Ok(if status.success() { 1 } else { 0 })
}

fn fill(path: &str) -> io::Result<u8> {
    let mut file = File::create(path)?;
    let block = vec![7_u8; 1 << 20];
    loop {
        if let Err(error) = file.write_all(&block) {
            println!("{error}");
            return Ok(error.raw_os_error().unwrap_or(255) as u8);
        }
    }
}

fn write_slowly(path: &str, time: Duration) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(b"first half ")?;
    file.flush()?;
    println!("half");
    std::thread::sleep(time);
    file.write_all(b"second half")
}

fn make_pipe(path: &str) -> io::Result<()> {
    let path = c(path);
    // SAFETY: the path ends with a zero.
    if unsafe { mkfifo(path.as_ptr(), 0o666) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Starts threads until no more can be started, and prints how many there were. The limit counts them like processes.
fn crowd() -> io::Result<u8> {
    let mut count = 0;
    let error = loop {
        let thread = std::thread::Builder::new()
            .stack_size(16 << 10)
            .spawn(|| std::thread::sleep(Duration::from_secs(600)));
        match thread {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    println!("{count} {}", error.raw_os_error().unwrap_or(0));
    Ok(0)
}

static CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn leave(_: i32) {
    // SAFETY: ends the process.
    unsafe { _exit(CODE.load(Ordering::Relaxed)) }
}

fn wait_for_term(code: i32) {
    CODE.store(code, Ordering::Relaxed);
    // SAFETY: the handler only ends the process.
    unsafe { signal(SIGTERM, leave as extern "C" fn(i32) as usize) };
    println!("ready");
    std::thread::sleep(Duration::from_secs(600));
}

fn ignore_term() {
    // SAFETY: 1 is SIG_IGN.
    unsafe { signal(SIGTERM, 1) };
    println!("ready");
    std::thread::sleep(Duration::from_secs(600));
}

fn facts() -> io::Result<()> {
    // SAFETY: reads a number.
    println!("uid {}", unsafe { getuid() });
    println!("pid {}", std::process::id());
    let status = fs::read_to_string("/proc/self/status")?;
    for line in status.lines() {
        if ["Cap", "NoNewPrivs", "Seccomp:", "SigIgn", "SigBlk"]
            .iter()
            .any(|name| line.starts_with(name))
        {
            println!("{line}");
        }
    }
    for line in fs::read_to_string("/proc/net/dev")?.lines().skip(2) {
        println!("link {}", line.split(':').next().unwrap_or_default().trim());
    }
    println!("open files {}", fs::read_dir("/proc/self/fd")?.count());
    println!(
        "mount {}",
        attempt(|| {
            let (kind, target) = (c("tmpfs"), c("/tmp"));
            // SAFETY: all strings end with a zero.
            unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) }
        })
    );
    // SAFETY: changes nothing but namespaces of this process.
    println!("unshare {}", attempt(|| unsafe { unshare(0x1000_0000) }));
    for path in [
        "/proc/interrupts",
        "/proc/sys/kernel/hostname",
        "/sys/firmware/efi",
        "/dev/null",
        "/dev/mem",
    ] {
        let mut byte = [0];
        let read = File::open(path).and_then(|mut file| file.read(&mut byte));
        println!(
            "read {path} {}",
            read.map_or_else(|error| error.raw_os_error().unwrap_or(0) * -1, |read| read as i32)
        );
    }
    let written = File::options().write(true).open("/proc/sys/kernel/hostname");
    println!(
        "write /proc/sys {}",
        written.map_or_else(|error| error.raw_os_error().unwrap_or(0), |_| 0)
    );
    Ok(())
}

fn attempt(call: impl FnOnce() -> i32) -> i32 {
    if call() == 0 {
        0
    } else {
        io::Error::last_os_error().raw_os_error().unwrap_or(-1)
    }
}

fn loopback() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"hello over lo\n")?;
    drop(client);
    let mut text = String::new();
    listener.accept()?.0.read_to_string(&mut text)?;
    print!("{text}");
    Ok(())
}

/// Tries to leave the machine; answers 0 only if that was possible.
fn outside() -> io::Result<u8> {
    let address = "192.0.2.1:9".parse().map_err(io::Error::other)?;
    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        Ok(_) => Ok(0),
        Err(error) => {
            println!("{error}");
            Ok(error
                .raw_os_error()
                .and_then(|number| u8::try_from(number).ok())
                .unwrap_or(255))
        }
    }
}
