//! A node for its owner: what it sells, to whom, and what it earned.

use super::{AMOUNT_DIGITS, PRICE_DIGITS, clock, column, count, money, receipts::date, short, table::Table};
use gpux_api::{EarningsView, NodeView, PricesView, ProvidedLease, ProvidedState, RatesView, Taking};
use gpux_types::{Millis, PricePerHour, Token};

/// The widest bar of a day's earnings, in characters.
const BAR: usize = 24;

pub(crate) fn node(view: &NodeView) -> String {
    let (total, free) = (&view.total, &view.free);
    let mut text = format!(
        "Node {} · {} · up {} · {}\n",
        view.node.short(),
        taking_words(view.taking),
        clock(Millis::from_secs(view.up.as_secs())),
        count(usize::try_from(view.neighbours).unwrap_or(usize::MAX), "neighbour"),
    );
    let line = |name: &str, value: String| format!("  {name:<8}{value}\n");
    let shares = format!("{} CPU, {} memory, {} disk", total.cpu, total.memory, total.disk);
    text.push_str(&line("shares", shares));
    text.push_str(&line(
        "free",
        format!("{} CPU, {} memory, {} disk", free.cpu, free.memory, free.disk),
    ));
    text.push_str(&line("asks", rates(&view.token, &view.prices.asked)));
    text.push_str(&line("market", standing(&view.token, &view.prices)));
    text.push_str(&line("renters", asked(view)));
    if view.leases.is_empty() {
        for reason in &view.why_idle {
            text.push_str(&line("no jobs", reason.found.clone()));
            if let Some(hint) = &reason.hint {
                text.push_str(&line("", format!("what to do: {hint}")));
            }
        }
        return text;
    }
    text.push('\n');
    text.push_str(&lease_table(view));
    text
}

const fn taking_words(taking: Taking) -> &'static str {
    match taking {
        Taking::Open => "takes new leases",
        Taking::Paused => "paused: takes no new leases",
    }
}

fn per_hour(token: &Token, price: PricePerHour) -> String {
    token.format_short(price.0, AMOUNT_DIGITS)
}

fn rates(token: &Token, rates: &RatesView) -> String {
    format!(
        "{} a core, {} a GiB of memory, {} a GiB of disk, for an hour, net",
        per_hour(token, rates.cpu_core),
        per_hour(token, rates.memory_gib),
        per_hour(token, rates.disk_gib)
    )
}

fn standing(token: &Token, prices: &PricesView) -> String {
    let standing = &prices.standing;
    let own = per_hour(token, standing.own);
    let of = &standing.of;
    let small = format!("{} CPU with {} and {} for an hour: {own}", of.cpu, of.memory, of.disk);
    match (standing.p10, standing.p50, standing.p90) {
        (Some(p10), Some(p50), Some(p90)) => format!(
            "{small}; {} of {} other nodes ask less (p10 {}, p50 {}, p90 {})",
            standing.cheaper,
            standing.others,
            per_hour(token, p10),
            per_hour(token, p50),
            per_hour(token, p90)
        ),
        _ => format!("{small}; no other node was heard that shares as much"),
    }
}

fn asked(view: &NodeView) -> String {
    let asked = &view.asked;
    let refused: Vec<String> = asked
        .refused
        .iter()
        .map(|(code, times)| format!("{code} {times}"))
        .collect();
    let refused = if refused.is_empty() {
        "none".to_owned()
    } else {
        refused.join(", ")
    };
    format!(
        "since the start: {} quotes given, {} leases taken on; refused: {refused}",
        asked.quotes, asked.leases
    )
}

fn lease_table(view: &NodeView) -> String {
    let price = format!(">PRICE ({}/h)", view.token.symbol);
    let signed = format!(">SIGNED ({})", view.token.symbol);
    let headings = [
        "LEASE", "STATE", "RENTER", ">CPU", ">MEMORY", &price, ">METERED", &signed, "ENDS BY",
    ];
    let mut table = Table::new(&headings);
    for lease in &view.leases {
        table.row(lease_row(&view.token, lease));
    }
    table.text("")
}

fn lease_row(token: &Token, lease: &ProvidedLease) -> [String; 9] {
    [
        lease.id.short(),
        state(lease.state).to_owned(),
        short(&lease.renter),
        lease.resources.cpu.to_string(),
        lease.resources.memory.to_string(),
        column(token, lease.price.0, PRICE_DIGITS),
        clock(lease.metered),
        column(token, lease.signed, AMOUNT_DIGITS),
        lease
            .expiry
            .map_or_else(|| "-".to_owned(), |at| date(at).replace('T', " ")),
    ]
}

const fn state(state: ProvidedState) -> &'static str {
    match state {
        ProvidedState::Preparing => "preparing",
        ProvidedState::AwaitingDeposit => "awaiting deposit",
        ProvidedState::AwaitingReceipt => "awaiting receipt",
        ProvidedState::Running => "running",
        ProvidedState::Frozen => "frozen",
        ProvidedState::Stopping => "stopping",
        ProvidedState::Settling => "settling",
        ProvidedState::Ended => "ended",
    }
}

/// After `pause` and `resume`.
pub(crate) fn taking(view: &NodeView) -> String {
    match view.taking {
        Taking::Open => "the node takes new leases; its offer is known in some seconds".to_owned(),
        Taking::Paused if view.is_drained() => "the node takes no new leases, and has none".to_owned(),
        Taking::Paused => format!("the node takes no new leases; {} go on", what_is_left(view)),
    }
}

pub(crate) fn prices(view: &NodeView) -> String {
    let (asked, configured) = (&view.prices.asked, &view.prices.configured);
    let mut text = format!("asks      {}\n", rates(&view.token, asked));
    if asked != configured {
        text.push_str(&format!(
            "config    {}; `gpux node price --reset` goes back to it\n",
            rates(&view.token, configured)
        ));
    }
    text.push_str(&format!("market    {}\n", standing(&view.token, &view.prices)));
    text.push_str("Leases that run, and quotes that were given, keep their price.\n");
    text
}

/// The leases that a node has, and the quotes that hold.
pub(crate) fn what_is_left(view: &NodeView) -> String {
    let quotes = usize::try_from(view.quotes).unwrap_or(usize::MAX);
    match (view.leases.len(), quotes) {
        (leases, 0) => count(leases, "lease"),
        (0, quotes) => count(quotes, "quote"),
        (leases, quotes) => format!("{} and {}", count(leases, "lease"), count(quotes, "quote")),
    }
}

/// What a node that is being drained waits for.
pub(crate) fn drained(view: &NodeView) -> String {
    let mut waits = Vec::new();
    if !view.leases.is_empty() {
        waits.push(format!("{} to end and be paid", count(view.leases.len(), "lease")));
    }
    if view.quotes > 0 {
        let quotes = count(usize::try_from(view.quotes).unwrap_or(usize::MAX), "quote");
        waits.push(format!(
            "{quotes} to become a lease or to lapse, in half a minute at most"
        ));
    }
    let last = view.leases.iter().filter_map(|lease| lease.expiry).max();
    let by = last.map_or_else(String::new, |at| {
        format!("; the last deposit is used up by {}", date(at))
    });
    format!("no new leases are taken; waiting for {}{by}", waits.join(", and for "))
}

/// After `drain`.
pub(crate) const fn is_drained(stopped: bool) -> &'static str {
    if stopped {
        "every lease is over and paid, and the daemon stops; the node stays paused when it starts again"
    } else {
        "every lease is over and paid; `gpux node resume` takes new ones again"
    }
}

pub(crate) fn earnings(view: &EarningsView) -> String {
    let token = &view.token;
    let since = if view.since.0 == 0 {
        "from the beginning".to_owned()
    } else {
        format!("since {}", date(view.since))
    };
    let mut text = format!(
        "{} earned {since}: {}, {} metered\n",
        money(token, view.earned),
        count(usize::try_from(view.leases).unwrap_or(usize::MAX), "lease"),
        clock(view.metered),
    );
    text.push_str(&format!(
        "{} signed for and not paid yet, of {}\n",
        money(token, view.open.signed),
        count(usize::try_from(view.open.leases).unwrap_or(usize::MAX), "open lease"),
    ));
    text.push_str(&fees(view));
    if view.disputed > 0 {
        text.push_str(&format!(
            "{} described differently by the renter: `gpux receipts`\n",
            count(usize::try_from(view.disputed).unwrap_or(usize::MAX), "lease")
        ));
    }
    if !view.reasons.is_empty() {
        let reasons: Vec<String> = view
            .reasons
            .iter()
            .map(|(reason, times)| format!("{reason} {times}"))
            .collect();
        text.push_str(&format!("ends: {}\n", reasons.join(", ")));
    }
    if !view.days.is_empty() {
        text.push('\n');
        text.push_str(&days(view));
    }
    text
}

fn fees(view: &EarningsView) -> String {
    let fees = &view.fees;
    let wei = fees.wei.parse::<u128>().unwrap_or(0);
    let unseen = fees.transactions.saturating_sub(fees.counted);
    let unseen = if unseen == 0 {
        String::new()
    } else {
        format!(", {unseen} older ones not counted")
    };
    format!(
        "{}.{:09} ETH of fees for {} of this node{unseen}\n",
        wei / 1_000_000_000_000_000_000,
        wei / 1_000_000_000 % 1_000_000_000,
        count(usize::try_from(fees.counted).unwrap_or(usize::MAX), "payment"),
    )
}

/// A line for each day, with a bar beside the amount.
fn days(view: &EarningsView) -> String {
    let earned = format!(">EARNED ({})", view.token.symbol);
    let mut table = Table::new(&["DAY (UTC)", ">LEASES", ">METERED", &earned, ""]);
    let most = view.days.iter().map(|day| day.earned.units()).max().unwrap_or(0);
    for day in &view.days {
        let width = u128::try_from(BAR).unwrap_or(0).checked_mul(day.earned.units());
        let width = width.and_then(|width| width.checked_div(most)).unwrap_or(0);
        table.row([
            date(day.day).chars().take(10).collect(),
            day.leases.to_string(),
            clock(day.metered),
            column(&view.token, day.earned, AMOUNT_DIGITS),
            "#".repeat(usize::try_from(width).unwrap_or(BAR)),
        ]);
    }
    table.text("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(change: impl FnOnce(&mut serde_json::Value)) -> NodeView {
        let small = json!({ "cpu": "1", "memory": "1GiB", "disk": "1GiB" });
        let rates = json!({
            "cpu_core": "50000000000000000", "memory_gib": "10000000000000000", "disk_gib": "500000000000000",
        });
        let mut view = json!({
            "schema": "gpux.node/v1", "node": "cd".repeat(32), "up": 61_500, "taking": "open",
            "token": { "symbol": "DAI", "decimals": 18 },
            "prices": {
                "asked": rates, "configured": rates,
                "standing": {
                    "of": small, "own": "60500000000000000", "others": 3, "cheaper": 2,
                    "p10": "40000000000000000", "p50": "50000000000000000", "p90": "70000000000000000",
                },
            },
            "total": small, "free": small, "leases": [], "quotes": 0, "neighbours": 1,
            "asked": { "quotes": 5, "leases": 2, "refused": { "no_capacity": 1 } },
            "why_idle": [{ "found": "2 of 3 ask less", "hint": "ask less" }],
        });
        change(&mut view);
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_node_without_a_lease_looks_so() {
        let wanted = "\
Node cdcdcdcd · takes new leases · up 1:01 · 1 neighbour
  shares  1 CPU, 1 GiB memory, 1 GiB disk
  free    1 CPU, 1 GiB memory, 1 GiB disk
  asks    0.05 DAI a core, 0.01 DAI a GiB of memory, 0.0005 DAI a GiB of disk, for an hour, net
  market  1 CPU with 1 GiB and 1 GiB for an hour: 0.0605 DAI; 2 of 3 other nodes ask less (p10 0.04 DAI, p50 0.05 DAI, p90 0.07 DAI)
  renters since the start: 5 quotes given, 2 leases taken on; refused: no_capacity 1
  no jobs 2 of 3 ask less
          what to do: ask less
";
        assert_eq!(node(&view(|_| ())), wanted);
    }

    #[test]
    fn its_leases_stand_below_it() {
        let view = view(|view| {
            view["leases"] = json!([{
                "id": "ab".repeat(32), "state": "awaiting_receipt", "renter": "0x0102030405", "node": "ef".repeat(32),
                "resources": view["total"], "price": "60500000000000000", "metered": 1_500,
                "signed": "1000000000000000", "expiry": 1_795_363_458,
            }]);
        });
        let text = node(&view);
        let wanted = "
LEASE     STATE             RENTER      CPU  MEMORY  PRICE (DAI/h)  METERED  SIGNED (DAI)  ENDS BY
abababab  awaiting receipt  0x01020304    1   1 GiB         0.0605     1.5s      0.001000  2026-11-22 16:04:18Z
";
        assert!(text.ends_with(wanted), "{text}");
        assert!(!text.contains("no jobs"), "{text}");
        assert_eq!(
            drained(&view),
            "no new leases are taken; waiting for 1 lease to end and be paid; the last deposit is used up by 2026-11-22T16:04:18Z"
        );
    }

    #[test]
    fn a_node_with_a_quote_that_holds_is_not_drained() {
        let paused = view(|view| {
            view["taking"] = json!("paused");
            view["quotes"] = json!(2);
        });
        assert!(!paused.is_drained());
        assert_eq!(taking(&paused), "the node takes no new leases; 2 quotes go on");
        assert_eq!(
            drained(&paused),
            "no new leases are taken; waiting for 2 quotes to become a lease or to lapse, in half a minute at most"
        );
        let none = view(|view| view["taking"] = json!("paused"));
        assert!(none.is_drained());
        assert!(!view(|_| ()).is_drained(), "who takes new leases is never drained");
    }

    #[test]
    fn prices_that_were_changed_stand_beside_those_of_the_configuration() {
        let changed = view(|view| view["prices"]["asked"]["cpu_core"] = json!("40000000000000000"));
        let text = prices(&changed);
        assert!(text.contains("asks      0.04 DAI a core"), "{text}");
        assert!(text.contains("config    0.05 DAI a core"), "{text}");
        assert!(!prices(&view(|_| ())).contains("config"));
    }

    #[test]
    fn earnings_look_so() {
        let view: EarningsView = serde_json::from_value(json!({
            "schema": "gpux.earnings/v1", "token": { "symbol": "DAI", "decimals": 18 },
            "since": 1_795_276_800, "until": 1_795_400_000, "leases": 3, "earned": "18000000000000000",
            "metered": 61_000, "disputed": 1, "reasons": { "completed": 2, "deposit_used": 1 },
            "days": [
                { "day": 1_795_276_800, "leases": 1, "earned": "6000000000000000", "metered": 20_000 },
                { "day": 1_795_363_200, "leases": 2, "earned": "12000000000000000", "metered": 41_000 },
            ],
            "open": { "leases": 1, "signed": "7000000000000000" },
            "fees": { "transactions": 3, "counted": 2, "wei": "21000000000000" },
        }))
        .unwrap();
        let wanted = "\
0.018 DAI earned since 2026-11-21T16:00:00Z: 3 leases, 1:01 metered
0.007 DAI signed for and not paid yet, of 1 open lease
0.000021000 ETH of fees for 2 payments of this node, 1 older ones not counted
1 lease described differently by the renter: `gpux receipts`
ends: completed 2, deposit_used 1

DAY (UTC)   LEASES  METERED  EARNED (DAI)
2026-11-21       1    20.0s      0.006000  ############
2026-11-22       2    41.0s      0.012000  ########################
";
        assert_eq!(earnings(&view), wanted);
    }
}
