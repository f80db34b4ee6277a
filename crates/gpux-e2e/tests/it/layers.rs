//! What stays of images on a provider's disk: what is paid for stays warm, and nothing of what a lease brought that nobody paid for.

use super::{
    job::Job,
    market::{Daemon, Market},
    wait::wait_for,
};
use gpux_api::{JobState, JobView};
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
