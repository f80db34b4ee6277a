//! Inputs: a folder of the renter's, as the containers of a provider see it, and that it is not sent twice.

use super::{job, market::Market, wait::wait_for};
use gpux_api::DoctorView;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, Instant},
};

/// The bytes of images, inputs and outputs that a daemon sent since it was started.
pub(crate) fn sent(market: &Market, daemon: &Path) -> u64 {
    let said = transfer(market, daemon);
    let number = said.split_once('(').and_then(|(_, rest)| rest.split_once(" bytes"));
    number.unwrap().0.parse().unwrap()
}

/// What a daemon says of its transfers.
fn transfer(market: &Market, daemon: &Path) -> String {
    // A market of one provider has something to complain about.
    let told = market.run(&["--dir", daemon.to_str().unwrap(), "doctor", "--json"]);
    let doctor: DoctorView = serde_json::from_slice(&told.stdout).unwrap();
    let mut checks = doctor.checks.into_iter();
    checks.find(|check| check.name == "transfer").unwrap().found
}

#[test]
fn a_folder_of_the_renter_is_seen_by_a_task_as_it_is_and_a_second_run_sends_nothing_of_it() {
    let mut market = Market::start(1);
    let input = market.path().join("tools");
    fs::create_dir_all(input.join("many/deep")).unwrap();
    fs::write(
        input.join("run.sh"),
        "#!/bin/sh\ncat /in/tools/many/deep/[0-9]* | wc -c\n",
    )
    .unwrap();
    fs::set_permissions(input.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../run.sh", input.join("many/link")).unwrap();
    for number in 0..600_u32 {
        fs::write(
            input.join(format!("many/deep/{number}")),
            number.to_le_bytes().repeat(500),
        )
        .unwrap();
    }
    fs::write(input.join("large"), vec![7; 2 << 20]).unwrap();
    let script = "/in/tools/many/link > /out/small.txt; wc -c < /in/tools/large > /out/large.txt; \
                  ! touch /in/tools/new; ! rm -f /in/tools/large";
    let file = format!(
        r#"gpux: 1
kind: task
name: folder
image: oci:image:e2e
resources: {{ cpu: 0.5, memory: 256MiB, disk: 64MiB }}
inputs: {{ tools: {{ path: tools, to: /in/tools }} }}
task: {{ collect: /out/*.txt }}
run: ["{}", "-euc", "{script}"]
budget: {{ max_duration: 10m }}
"#,
        job::SHELL
    );
    let path = market.path().join("folder.yaml");
    fs::write(&path, file).unwrap();
    let run = |market: &Market, output: &str| {
        let (path, output) = (path.to_str().unwrap(), market.path().join(output));
        market.run(&["run", path, "-y", "--output", output.to_str().unwrap()])
    };
    let assert_ran = |market: &Market, output: &str| {
        let ended = run(market, output);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let folder = market.path().join(output);
        let out = |name: &str| fs::read_to_string(folder.join(name)).unwrap().trim().to_owned();
        assert_eq!(
            (out("small.txt"), out("large.txt")),
            ("1200000".into(), "2097152".into())
        );
    };
    assert_ran(&market, "first");
    let (renter, provider) = (market.daemon("renter").dir, market.daemon("provider-1").dir);
    let before = sent(&market, &renter);
    assert!(before > 2 << 20, "{before}");
    // It knows what it keeps also when it was started again, and a daemon that was sends bytes anew from 0.
    wait_for("the inputs to be kept", Duration::from_secs(30), || {
        (!transfer(&market, &provider).contains("; 0 B kept")).then_some(())
    });
    let began = Instant::now();
    market.reconfigure("provider-1", str::to_owned);
    market.await_offer("provider-1", began);
    assert_ran(&market, "second");
    assert_eq!(sent(&market, &renter), before, "nothing was sent again");
    let received = transfer(&market, &provider);
    assert!(received.contains("(0 bytes) received"), "{received}");

    symlink("/etc/passwd", input.join("many/out")).unwrap();
    let refused = run(&market, "third");
    assert_ne!(refused.status.code(), Some(0));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("many/out") && said.contains("leads out of the folder"),
        "{said}"
    );
}
