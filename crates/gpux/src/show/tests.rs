//! Golden screens: what people see of a document, to the letter.

mod screens;

use super::*;
use gpux_api::{
    Actor, CostView, DoctorCheck, DoctorView, EndView, JobList, JobState, JobView, LeaseCost, LeasePlan, LeaseState,
    LeaseView, OfferView, OffersView, PartsView, PlanView, PreflightFinding, PreflightView, RejectedOffer,
    RejectionCounts, TransactionKind, TransactionView,
};
use gpux_types::{ByteSize, Cpu, JobId, LeaseId, NodeId, Resources, UnixSeconds};

fn dai() -> Token {
    Token {
        symbol: "DAI".into(),
        decimals: 18,
    }
}

fn amount(text: &str) -> Amount {
    dai().parse(text).unwrap()
}

fn resources() -> Resources {
    Resources {
        cpu: Cpu { millicores: 1_500 },
        memory: ByteSize(2 << 30),
        disk: ByteSize(10 << 30),
    }
}

/// The text without the newline that makes a raw string readable.
fn golden(text: &str) -> &str {
    text.strip_prefix('\n').unwrap_or(text)
}

fn lease_plan(node: u8, price: &str, region: Option<&str>) -> LeasePlan {
    LeasePlan {
        node: NodeId([node; 32]),
        provider: "0x488C46ea00000000000000000000000000000000".into(),
        region: region.map(str::to_owned),
        price: PricePerHour(amount(price)),
        deposit: amount("0.08514"),
        cpu_score: 1_043,
        reliability: if node == 0xbb { 250 } else { LeasePlan::UNKNOWN },
    }
}

fn plan_view() -> PlanView {
    let finding = PreflightFinding {
        level: "warning".into(),
        message: "no camera moves".into(),
    };
    PlanView {
        schema: "gpux.plan/v1".into(),
        name: "first-light".into(),
        image: "image".into(),
        parts: 48,
        checks: 0,
        resources: resources(),
        token: dai(),
        leases: vec![lease_plan(0xaa, "0.1674", Some("eu-nl")), lease_plan(0xbb, "0.2", None)],
        offers: 4,
        alternatives: vec![lease_plan(0xcc, "12.00005", None)],
        rejected: vec![RejectedOffer {
            node: NodeId([0xdd; 32]),
            reasons: vec!["wants 8 CPU, has 2".into(), "too dear".into()],
        }],
        rejections: Some(RejectionCounts {
            offers: 1,
            by_reason: [("cpu".to_owned(), 1), ("price".to_owned(), 1)].into(),
        }),
        max_duration: Millis::from_secs(1_800),
        deposit: amount("0.1702800000001"),
        worst_case: amount("0.1702800000001"),
        balance: amount("1000"),
        builder_share: 505,
        preflight: PreflightView::Passed {
            findings: vec![finding],
        },
        output: "/tmp/first-light".into(),
    }
}

#[test]
fn a_plan_looks_so() {
    assert_eq!(
        plan(&plan_view(), false),
        golden(
            r"
Job first-light · 48 parts over 2 nodes · each 1.5 CPU, 2 GiB memory, 10 GiB disk

 #  NODE      PROVIDER    REGION  CPU SCORE  PRICE (DAI/h)  DEPOSIT (DAI)
 1  aaaaaaaa  0x488C46ea  eu-nl        1043         0.1674       0.085140  <- chosen
 2  bbbbbbbb  0x488C46ea  -            1043         0.2000       0.085140  <- chosen
 3  cccccccc  0x488C46ea  -            1043        12.0000       0.085140
 -  4 offers known (gpux plan --why FILE shows which come next, and why others do not match)

 Lasts at most         30:00
 Deposit to escrow     0.170281 DAI  (the most that can be spent)
 You have              1000 DAI
 Builder               5.05 % to the app's builder, on top of the providers' prices
 Billing               by the second from the start of your first process; preparation is free
 Comes back            what was not used, with the settlement of each lease
 Outputs               /tmp/first-light
 App's own check       passed
                       warning: no camera moves
"
        )
    );
}

#[test]
fn why_tells_every_reason() {
    let text = plan(&plan_view(), true);
    assert!(
        text.contains(" -  bbbbbbbb: kept its word 250 of 1000 times as you have seen it\n"),
        "{text}"
    );
    assert!(
        !text.contains("aaaaaaaa: kept"),
        "of a node that is not known nothing is said: {text}"
    );
    assert!(text.contains(" -  1 offer rejected: cpu 1, price 1\n"), "{text}");
    assert!(text.contains(" -  dddddddd: wants 8 CPU, has 2; too dear\n"), "{text}");
}

#[test]
fn offers_look_so() {
    let offer = OfferView {
        node: NodeId([0xaa; 32]),
        provider: "0x488C46ea00000000000000000000000000000000".into(),
        region: None,
        total: Resources {
            cpu: Cpu::cores(4),
            ..resources()
        },
        free: resources(),
        largest: Some(Resources {
            cpu: Cpu::cores(1),
            ..resources()
        }),
        price: PricePerHour(amount("0.1674999")),
        cpu_score: 1_043,
        age: Millis(2_340),
    };
    let view = OffersView {
        schema: "gpux.offers/v1".into(),
        token: dai(),
        offers: vec![offer],
        next: None,
    };
    assert_eq!(
        offers(&view),
        golden(
            r"
NODE      PROVIDER    REGION  FREE CPU  IN ONE LEASE  MEMORY    DISK  CPU SCORE  ALL THAT IS FREE (DAI/h)     HEARD
aaaaaaaa  0x488C46ea  -       1.5 of 4             1   2 GiB  10 GiB       1043                    0.1674  2.3s ago
"
        )
    );
    let none = OffersView {
        offers: Vec::new(),
        ..view
    };
    assert_eq!(
        offers(&none),
        "no offers heard yet; `gpux doctor` shows whether this node has neighbours"
    );
}

fn transaction(kind: TransactionKind, amount: Amount) -> TransactionView {
    TransactionView {
        lease: LeaseId([0xee; 32]),
        kind,
        hash: "0x6153".into(),
        block: Some(9),
        amount,
        sender: None,
        gas_used: Some(119_001),
        l2_fee_wei: Some("234626340000000".into()),
        l1_fee_wei: Some("350892000000".into()),
        l1_estimated: true,
    }
}

fn cost_view() -> CostView {
    let mut pending = transaction(TransactionKind::Settlement, amount("0.05"));
    (pending.block, pending.gas_used, pending.l2_fee_wei, pending.l1_fee_wei) = (None, None, None, None);
    pending.l1_estimated = false;
    let lease = LeaseCost {
        at_risk: None,
        lease: LeaseId([0xee; 32]),
        node: NodeId([0xaa; 32]),
        provider: "0x488C46ea00000000000000000000000000000000".into(),
        price: PricePerHour(amount("0.1674")),
        deposit: amount("0.08514"),
        topped_up: Amount::ZERO,
        earned: amount("0.0475"),
        builder: amount("0.0025"),
        refund: amount("0.03514"),
        signed: amount("0.05"),
        metered: Millis::from_secs(241),
        expiry: UnixSeconds(0),
        transactions: vec![transaction(TransactionKind::Deposit, amount("0.08514")), pending],
    };
    CostView {
        schema: "gpux.cost/v1".into(),
        job: JobId([1; 16]),
        name: "first-light".into(),
        token: dai(),
        token_address: "0x03".into(),
        chain_id: 901,
        escrow: "0x5FbD".into(),
        leases: vec![lease],
        paid_in: amount("0.085140000000000001"),
        earned: amount("0.0475"),
        builder: amount("0.0025"),
        refund: amount("0.035140000000000001"),
        held: Amount::ZERO,
        balanced: true,
        transactions: 2,
        fees_wei: "234626340000000".into(),
        l1_estimated: true,
    }
}

#[test]
fn a_bill_looks_so() {
    assert_eq!(
        bill(&cost_view()),
        golden(
            r"
Bill of first-light · escrow 0x5FbD on chain 901

Lease eeeeeeee · node aaaaaaaa · provider 0x488C46ea · 0.1674 DAI/h · 4:01 metered
              TRANSACTION    BLOCK  AMOUNT (DAI)     GAS  L2 FEE (gwei)  L1 FEE (gwei)
  deposit     0x6153             9      0.085140  119001     234626.340   350.892 est.
  settlement  0x6153       pending      0.050000       -              -              -
  earned 0.0475 DAI, builder 0.0025 DAI, refund 0.03514 DAI

  TOTAL                            DAI
  paid in         0.085140000000000001
  to providers    0.047500000000000000
  to the builder  0.002500000000000000
  refunded        0.035140000000000001
  all money in equals all money out, to the last unit

  fees that you paid: 234626.340 gwei (0.000234626 ETH)
  L1 fees are estimates: this chain charges none
  2 transactions
"
        )
    );
}

#[test]
fn a_bill_that_does_not_balance_says_so_and_shows_what_is_held() {
    let text = bill(&CostView {
        balanced: false,
        held: amount("1"),
        ..cost_view()
    });
    assert!(text.contains("MONEY IN AND MONEY OUT DIFFER"), "{text}");
    assert!(text.contains("  still held      1.000000000000000000\n"), "{text}");
}

#[test]
fn the_bill_of_a_running_lease_shows_what_both_sides_have_at_risk() {
    let mut cost = cost_view();
    cost.leases[0].at_risk = Some(gpux_api::AtRiskView {
        renter_now: amount("0.0002325"),
        renter_most: amount("0.000465"),
        provider_now: Amount::ZERO,
        provider_most: amount("0.0004650000001"),
    });
    let text = bill(&cost);
    let wanted = "\
  at risk: you 0.000232 DAI now, 0.000465 DAI at most
  at risk: the provider 0 DAI now, 0.000466 DAI at most
";
    assert!(text.contains(wanted), "{text}");
    assert!(
        !bill(&cost_view()).contains("at risk"),
        "a lease that is over risks nothing"
    );
}

fn lease_view(state: LeaseState) -> LeaseView {
    LeaseView {
        id: LeaseId([0xee; 32]),
        node: NodeId([0xaa; 32]),
        provider: "0x01".into(),
        state,
        price: PricePerHour(amount("0.1674")),
        deposit: amount("0.08514"),
        topped_up: Amount::ZERO,
        signed: amount("0.01"),
        expiry: UnixSeconds(1_000),
        metered: Millis::ZERO,
        parts_done: 0,
        parts_running: 0,
        prepared: ByteSize(1 << 20),
        to_prepare: ByteSize(10 << 20),
        low: false,
        at_risk: None,
        end: None,
    }
}

fn job_view(state: JobState) -> JobView {
    JobView {
        schema: "gpux.job/v1".into(),
        id: JobId([1; 16]),
        name: "first-light".into(),
        state,
        accepted_at: UnixSeconds(100),
        elapsed: Millis(62_000),
        token: dai(),
        parts: PartsView {
            total: 48,
            done: 2,
            ..PartsView::default()
        },
        leases: vec![lease_view(LeaseState::Running)],
        output: "/tmp/first-light".into(),
        outputs: Vec::new(),
        ranks: Vec::new(),
        checks: None,
        waits: None,
        end: None,
    }
}

#[test]
fn a_list_of_jobs_looks_so() {
    let end = EndView {
        reason: "Part 3 failed".into(),
        actor: Actor::Renter,
        exit_code: Some(1),
    };
    let failed = JobView {
        end: Some(end),
        name: "shot".into(),
        ..job_view(JobState::Failed)
    };
    let waits = JobView {
        ranks: Vec::new(),
        checks: None,
        waits: Some("the results of part 1 wait".into()),
        ..job_view(JobState::Running)
    };
    let list = JobList {
        schema: "gpux.jobs/v1".into(),
        jobs: vec![
            job_view(JobState::Running),
            job_view(JobState::Succeeded),
            waits,
            failed,
        ],
        next: None,
    };
    assert_eq!(
        jobs(&list),
        golden(
            r"
JOB          STATE      PARTS  NODES  TIME  SIGNED FOR  ENDS
first-light  running     2/48      1  1:02    0.01 DAI  by itself in 13:58
first-light  succeeded   2/48      1  1:02    0.01 DAI  -
first-light  running     2/48      1  1:02    0.01 DAI  the results of part 1 wait
shot         failed      2/48      1  1:02    0.01 DAI  Part 3 failed
"
        )
    );
}

#[test]
fn an_end_names_its_reason_and_who_made_it() {
    let reason = EndView {
        reason: "Frame 3 has no Camera".into(),
        actor: Actor::Provider,
        exit_code: None,
    };
    let job = JobView {
        end: Some(reason),
        ..job_view(JobState::Failed)
    };
    assert_eq!(
        end(&job, &cost_view()),
        golden(
            r"
first-light failed: Frame 3 has no Camera (by the provider) after 1:02
  2 of 48 parts, outputs in /tmp/first-light
  paid 0.05 DAI to 1 provider, 0.03514 DAI back to you; 2 transactions (gpux cost first-light)
"
        )
    );
    assert_eq!(job_line(&job_view(JobState::Succeeded)), "first-light succeeded");
}

#[test]
fn checks_look_so() {
    let check = |name: &str, ok| DoctorCheck {
        name: name.into(),
        ok,
        found: "found".into(),
        hint: Some("mend it".into()),
    };
    let view = |ok| DoctorView {
        schema: "gpux.doctor/v1".into(),
        checks: vec![check("chain", true), check("peers", ok)],
    };
    assert_eq!(
        doctor(&view(true)),
        "ok   chain: found\nok   peers: found\nall is well\n"
    );
    assert_eq!(
        doctor(&view(false)),
        "ok   chain: found\nFAIL peers: found\n     what to do: mend it\n1 of 2 checks failed\n"
    );
}

#[test]
fn amounts_are_never_shown_as_nothing_when_they_are_something() {
    let one = Amount::new(1).unwrap();
    assert_eq!(money(&dai(), one), "less than 0.000001 DAI");
    assert_eq!(money(&dai(), Amount::ZERO), "0 DAI");
    assert_eq!(money_at_most(&dai(), one), "0.000001 DAI");
    assert_eq!(money_at_most(&dai(), Amount::MAX), "79228162514.264337 DAI");
    assert_eq!(column(&dai(), one, 4), "<0.0001");
    assert_eq!(column(&dai(), Amount::ZERO, 4), "0.0000");
    let usdc = Token {
        symbol: "USDC".into(),
        decimals: 6,
    };
    assert_eq!(
        (money(&usdc, one), money_at_most(&usdc, one)),
        ("0.000001 USDC".into(), "0.000001 USDC".into())
    );
    assert_eq!(column(&usdc, one, 18), "0.000001");
    let whole = Token {
        symbol: "PT".into(),
        decimals: 0,
    };
    assert_eq!(
        (money(&whole, one), column(&whole, one, 6)),
        ("1 PT".into(), "1".into())
    );
}

#[test]
fn times_look_so() {
    let shown = [0, 3_450, 59_999, 60_000, 3_599_000, 3_661_000].map(|time| clock(Millis(time)));
    assert_eq!(shown, ["0.0s", "3.4s", "59.9s", "1:00", "59:59", "1:01:01"]);
}
