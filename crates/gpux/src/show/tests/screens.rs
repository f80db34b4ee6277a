//! Golden screens of what is looked up: all of a job, why it failed, the GPUs of a market.

use super::*;
use gpux_api::{EndView, GpuModelView, GpuRegionView, GpusView, JobDetails, RetriedPart};
use gpux_types::PartIndex;

#[test]
fn all_of_a_job_looks_so() {
    let view = JobDetails {
        schema: "gpux.job-details/v1".into(),
        job: job_view(JobState::Running),
        ends_by_itself: Some(UnixSeconds(700)),
        retried: vec![RetriedPart {
            part: PartIndex(3),
            values: Some("13-16".into()),
            tries: 2,
            lease: LeaseId([2; 32]),
            node: NodeId([0xcc; 32]),
            failed: true,
            why: Some(EndView {
                reason: "exited with 3".into(),
                actor: gpux_api::Actor::Renter,
                exit_code: Some(3),
            }),
        }],
        retried_in_all: 12,
    };
    let text = details(&view);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"first-light running"));
    for expected in [
        "  parts     2 done, 0 running, 0 queued, 0 failed, of 48",
        "  results   /tmp/first-light, 0 files",
        "  ends      by itself in 8:58, with its last lease",
        "    part 3 (13-16): try 2 on cccccccc, which failed: exited with 3",
        "    and 2 more",
    ] {
        assert!(lines.contains(&expected), "{expected}\n{text}");
    }
    assert!(text.contains("LEASE ") && text.contains(" running "), "{text}");
    let over = JobDetails {
        job: job_view(JobState::Succeeded),
        ends_by_itself: None,
        retried: Vec::new(),
        retried_in_all: 0,
        ..view
    };
    let text = details(&over);
    assert!(!text.contains("by itself") && !text.contains("tried again"), "{text}");
}

#[test]
fn why_a_job_failed_names_who_ended_each_lease() {
    let end = |reason: &str, actor| {
        Some(EndView {
            reason: reason.into(),
            actor,
            exit_code: None,
        })
    };
    let job = JobView {
        end: end("no node is left", Actor::Provider),
        leases: vec![LeaseView {
            end: end("the node vanished", Actor::Network),
            ..lease_view(LeaseState::Reclaimable)
        }],
        ..job_view(JobState::Failed)
    };
    let text = diagnosis(&job);
    assert!(
        text.starts_with("first-light failed: no node is left (by the provider)\n"),
        "{text}"
    );
    assert!(
        text.contains(" reclaimable: the node vanished (by the network)\n"),
        "{text}"
    );
}

#[test]
fn gpus_look_so() {
    let price = |text: &str| PricePerHour(amount(text));
    let region = |region: Option<&str>, free, cheapest: &str| GpuRegionView {
        region: region.map(str::to_owned),
        nodes: 1,
        total: 4,
        free,
        cheapest: price(cheapest),
    };
    let view = GpusView {
        schema: "gpux.gpus/v1".into(),
        token: dai(),
        models: vec![GpuModelView {
            model: "rtx-4090".into(),
            nodes: 2,
            total: 8,
            free: 5,
            largest: 4,
            p10: price("0.3"),
            p50: price("0.3"),
            p90: price("0.45"),
            regions: vec![region(None, 1, "0.45"), region(Some("eu-nl"), 4, "0.3")],
        }],
    };
    assert_eq!(
        gpus(&view),
        golden(
            r"
MODEL     REGION  NODES  FREE  OF  ON ONE NODE  P10 (DAI/h)  P50 (DAI/h)  P90 (DAI/h)
rtx-4090  all         2     5   8            4       0.3000       0.3000       0.4500
          -           1     1   4               from 0.4500
          eu-nl       1     4   4               from 0.3000
"
        )
    );
    let none = GpusView {
        models: Vec::new(),
        ..view
    };
    assert_eq!(
        gpus(&none),
        "no offer that this node has heard has a GPU; `gpux offers` lists all"
    );
}
