//! What stays of images on a provider's disk: what is paid for stays warm, and nothing of what a lease brought that nobody paid for.

use super::{
    disk::Disk,
    inputs,
    job::{self, Job},
    market::{Daemon, Market},
    wait::wait_for,
};
use gpux_api::{JobState, JobView};
use gpux_types::ByteSize;
use serde_json::json;
use std::{fs, path::PathBuf, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// The unpacked layers of a provider.
fn layers(provider: &Daemon) -> Vec<PathBuf> {
    let entries = fs::read_dir(provider.dir.join("layers")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("layer.json").exists()).collect()
}

#[test]
fn an_image_goes_with_a_lease_that_is_not_paid_for_and_stays_warm_after_one_that_is() {
    const UNPAID: Job = Job {
        name: "unpaid",
        nodes: 1,
        parts: 1,
        seconds: 1,
    };
    const PAID: Job = Job { name: "paid", ..UNPAID };

    let market = Market::start(1);
    let provider = market.daemon("provider-1");
    assert_eq!(layers(&provider), [] as [PathBuf; 0]);
    // No block comes, and so no deposit.
    market.rpc.call("evm_setIntervalMining", json!([0]));
    market.start_job(&UNPAID);
    let unpacked = wait_for("the image to be unpacked", MINUTE, || layers(&provider).pop());
    let _: JobView = market.ask(&["stop", UNPAID.name]);
    wait_for("the image to be gone", MINUTE, || {
        layers(&provider).is_empty().then_some(())
    });
    assert!(!unpacked.exists());
    market.rpc.call("evm_setIntervalMining", json!([1]));
    let ended = market.job_when(UNPAID.name, "its end", 2 * MINUTE, |job| job.state.is_over());
    assert_ne!(ended.state, JobState::Succeeded);

    let ran = market.run(&["run", &market.write_job(&PAID), "-y", "--output", &market.output(&PAID)]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    market.assert_outputs(&PAID);
    let warm = wait_for("it to be known as paid for", MINUTE, || {
        layers(&provider).pop().filter(|layer| layer.join("earned").exists())
    });
    assert_eq!(warm, unpacked, "the same layer, unpacked again");
    for name in [UNPAID.name, PAID.name] {
        assert!(market.cost(name).balanced);
    }
}

#[test]
fn an_image_that_nobody_uses_makes_room_for_a_lease_that_finds_the_disk_short() {
    const LARGE: Job = Job {
        name: "large",
        nodes: 2,
        parts: 2,
        seconds: 1,
    };
    const NEXT: Job = Job { name: "next", ..LARGE };
    const MIB: u64 = 1 << 20;
    /// What always stays free, and less than the next lease's own disk of 64 MiB.
    const LEFT: ByteSize = ByteSize((512 + 50) * MIB);

    // The first one is where everybody starts from: it stays where it is.
    let mut market = Market::start(2);
    let disk = Disk::in_place_of(&mut market, "provider-2");
    let provider = market.daemon("provider-2");
    job::write_image_with(&market.path().join("large"), &vec![7; 48 << 20]);
    let run = |job: &Job, image: &str| {
        let file = market.write_job(job);
        fs::write(&file, job.text().replace("oci:image:e2e", image)).unwrap();
        market.run(&["run", &file, "-y", "--output", &market.output(job)])
    };
    let ran = run(&LARGE, "oci:large:e2e");
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let sent = inputs::sent(&market, &market.daemon("renter").dir);
    assert!(
        (48 * MIB..72 * MIB).contains(&sent),
        "{sent}: the two have most of it from each other"
    );
    let large = layers(&provider).pop().expect("it is warm");
    disk.fill_but(LEFT);
    let ran = run(&NEXT, "oci:image:e2e");
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    market.assert_outputs(&NEXT);
    assert!(!large.exists(), "it made room");
    assert_eq!(layers(&provider).len(), 1, "the next one's is there");
}
