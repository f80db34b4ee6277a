//! A renter that goes away: what is at risk, and what was signed.

use super::{clock, column, count, money, money_at_most, table::Table};
use gpux_api::{AwayView, JobView};
use gpux_types::Token;

pub(crate) fn away(would: &AwayView, token: &Token) -> String {
    let mut table = Table::new(&[
        "LEASE",
        "NODE",
        ">WORK GOES ON FOR",
        &format!(">SIGNED AHEAD ({})", token.symbol),
        &format!(">AT RISK ({})", token.symbol),
    ]);
    for lease in &would.leases {
        table.row([
            lease.lease.short(),
            lease.node.short(),
            clock(lease.horizon),
            column(token, lease.signed_ahead, super::AMOUNT_DIGITS),
            column(token, lease.at_risk, super::AMOUNT_DIGITS),
        ]);
    }
    table.text("")
}

pub(crate) fn away_question(would: &AwayView, job: &JobView) -> String {
    format!(
        "Sign ahead for {}? A provider that cheats could take up to {} in all without working.",
        job.name,
        money_at_most(&job.token, would.at_risk)
    )
}

pub(crate) fn away_done(done: &AwayView, token: &Token) -> String {
    let shortest = done.leases.iter().map(|lease| lease.horizon).min().unwrap_or_default();
    format!(
        "The work of {} goes on for {} without this node; {} at risk at most\n",
        count(done.leases.len(), "lease"),
        clock(shortest),
        money(token, done.at_risk)
    )
}

pub(crate) fn back(done: &AwayView, job: &JobView) -> String {
    format!(
        "Nothing more is signed ahead for {}; {} at risk at most by what is signed\n",
        job.name,
        money(&job.token, done.at_risk)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_api::AwayLease;
    use gpux_types::{LeaseId, Millis, NodeId};

    #[test]
    fn who_goes_away_sees_how_long_work_goes_on_and_what_that_risks() {
        let token = Token {
            symbol: "DAI".into(),
            decimals: 18,
        };
        let amount = |text: &str| token.parse(text).unwrap();
        let lease = |byte, secs| AwayLease {
            lease: LeaseId([byte; 32]),
            node: NodeId([byte; 32]),
            horizon: Millis::from_secs(secs),
            signed_ahead: amount("0.5"),
            at_risk: amount("0.25"),
        };
        let view = AwayView {
            schema: "gpux.away/v1".into(),
            done: true,
            at_risk: amount("0.5"),
            leases: vec![lease(0xaa, 7_200), lease(0xbb, 600)],
        };
        let wanted = "\
LEASE     NODE      WORK GOES ON FOR  SIGNED AHEAD (DAI)  AT RISK (DAI)
aaaaaaaa  aaaaaaaa           2:00:00            0.500000       0.250000
bbbbbbbb  bbbbbbbb             10:00            0.500000       0.250000
";
        assert_eq!(away(&view, &token), wanted);
        let done = "The work of 2 leases goes on for 10:00 without this node; 0.5 DAI at risk at most\n";
        assert_eq!(away_done(&view, &token), done);
    }
}
