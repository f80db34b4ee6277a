//! Closing records: a table for people, CSV for spreadsheets.

use super::{clock, column, money, table::Table};
use gpux_api::{Actor, LeaseSide, ReceiptView, ReceiptsView, RecordStanding, StatementView, TransactionKind};
use gpux_types::{Amount, Token, UnixSeconds};

/// The columns of the CSV form, in order. A column is never moved or renamed: new ones come after the last.
const COLUMNS: [&str; 30] = [
    "date",
    "lease",
    "side",
    "job",
    "name",
    "node",
    "record",
    "differs",
    "reason",
    "by",
    "metered_ms",
    "exits",
    "other_parts",
    "token",
    "price_per_hour",
    "deposit",
    "topped_up",
    "earned",
    "builder",
    "refund",
    "signed",
    "opening",
    "top_ups",
    "ending",
    "chain_id",
    "escrow",
    "renter",
    "provider",
    "log_hash",
    "ending_kind",
];

const fn standing(standing: RecordStanding) -> &'static str {
    match standing {
        RecordStanding::Agreed => "agreed",
        RecordStanding::Disputed => "disputed",
        RecordStanding::OneSided => "one_sided",
    }
}

const fn side(side: LeaseSide) -> &'static str {
    match side {
        LeaseSide::Renter => "renter",
        LeaseSide::Provider => "provider",
    }
}

const fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Renter => "renter",
        Actor::Provider => "provider",
        Actor::Network => "network",
        Actor::Chain => "chain",
    }
}

pub(crate) fn receipts(view: &ReceiptsView) -> String {
    if view.receipts.is_empty() {
        return "No lease is over yet. A record appears when its last payment is in.\n".to_owned();
    }
    let amount = |name: &str| format!(">{name} ({})", view.token.symbol);
    let mut table = Table::new(&[
        "DATE (UTC)",
        "LEASE",
        "JOB",
        "AS",
        "END",
        ">METERED",
        &amount("EARNED"),
        &amount("REFUND"),
        "RECORD",
    ]);
    let mut notes = String::new();
    for receipt in &view.receipts {
        let Some(own) = receipt.own() else { continue };
        table.row(row(&view.token, receipt, own));
        notes.push_str(&note(&view.token, receipt));
    }
    table.text("") + &notes
}

fn row(token: &Token, receipt: &ReceiptView, own: &StatementView) -> [String; 9] {
    [
        date(own.date).replace('T', " ").replace('Z', ""),
        receipt.lease.short(),
        name(receipt),
        side(receipt.side).to_owned(),
        format!("{} (by the {})", own.reason_text, actor(own.by)),
        clock(own.metered),
        column(token, own.earned, super::AMOUNT_DIGITS),
        column(token, own.refund, super::AMOUNT_DIGITS),
        standing(receipt.standing).to_owned(),
    ]
}

/// The job's name. A stranger may have given it.
fn name(receipt: &ReceiptView) -> String {
    gpux_types::shown(&receipt.name, 64)
}

/// What the other side of a disputed record says.
fn note(token: &Token, receipt: &ReceiptView) -> String {
    let (other, who) = match receipt.side {
        LeaseSide::Renter => (&receipt.provider, "provider"),
        LeaseSide::Provider => (&receipt.renter, "renter"),
    };
    match (receipt.standing, other) {
        (RecordStanding::Disputed, Some(said)) => format!(
            "\nLease {}: the {who} signed something else ({}): {} (by the {}), earned {}, refund {}\n",
            receipt.lease.short(),
            receipt.differs.join(", "),
            said.reason_text,
            actor(said.by),
            money(token, said.earned),
            money(token, said.refund),
        ),
        _ => String::new(),
    }
}

/// The records as CSV (RFC 4180): the header, then one line for each, this node's own word in each column.
pub(crate) fn receipts_csv(view: &ReceiptsView) -> String {
    let mut text = line(COLUMNS.map(str::to_owned));
    for receipt in &view.receipts {
        if let Some(own) = receipt.own() {
            text.push_str(&line(cells(&view.token, receipt, own)));
        }
    }
    text
}

fn cells(token: &Token, receipt: &ReceiptView, own: &StatementView) -> [String; COLUMNS.len()] {
    let exact = |amount: Amount| digits(token, amount);
    let hashes = |wanted: fn(TransactionKind) -> bool| {
        let wanted = own.transactions.iter().filter(|moved| wanted(moved.kind));
        wanted.map(|moved| moved.hash.as_str()).collect::<Vec<_>>().join(" ")
    };
    let exits = own.exits.iter().map(|exit| format!("{}x{}", exit.parts, exit.code));
    [
        date(own.date),
        receipt.lease.to_string(),
        side(receipt.side).to_owned(),
        receipt.job.to_string(),
        name(receipt),
        receipt.node.to_string(),
        standing(receipt.standing).to_owned(),
        receipt.differs.join(" "),
        own.reason.clone(),
        actor(own.by).to_owned(),
        own.metered.0.to_string(),
        exits.collect::<Vec<_>>().join(" "),
        own.other_parts.to_string(),
        token.symbol.clone(),
        exact(receipt.price.0),
        exact(own.deposit),
        exact(own.topped_up),
        exact(own.earned),
        exact(own.builder),
        exact(own.refund),
        exact(own.signed),
        hashes(|kind| matches!(kind, TransactionKind::Deposit)),
        hashes(|kind| matches!(kind, TransactionKind::TopUp)),
        hashes(|kind| {
            matches!(
                kind,
                TransactionKind::Settlement | TransactionKind::Closing | TransactionKind::Reclaim
            )
        }),
        receipt.terms.chain_id.to_string(),
        receipt.terms.escrow.clone(),
        receipt.terms.renter.clone(),
        receipt.terms.provider.clone(),
        own.last_log.as_ref().map(|log| log.hash.clone()).unwrap_or_default(),
        ending_kind(own).to_owned(),
    ]
}

/// How the escrow closed it.
fn ending_kind(own: &StatementView) -> &'static str {
    let kinds = own.transactions.iter().rev().filter_map(|moved| match moved.kind {
        TransactionKind::Settlement => Some("settlement"),
        TransactionKind::Closing => Some("closing"),
        TransactionKind::Reclaim => Some("reclaim"),
        TransactionKind::Deposit | TransactionKind::TopUp | TransactionKind::Draw => None,
    });
    kinds.into_iter().next().unwrap_or_default()
}

/// Every digit, without the token's name.
fn digits(token: &Token, amount: Amount) -> String {
    let text = token.format(amount);
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn line<const N: usize>(cells: [String; N]) -> String {
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

/// A cell that no spreadsheet takes for a formula, nor a part of it where that takes other signs for separators or quotes; quoted
/// where it must be.
fn cell(text: &str) -> String {
    let (mut safe, mut begins) = (String::new(), true);
    for c in text.chars() {
        if (begins && "=+-@＝＋－＠".contains(c)) || (safe.is_empty() && matches!(c, '\t' | '\r')) {
            safe.push('\'');
        }
        safe.push(c);
        begins = c.is_whitespace() || ",;|:\"'".contains(c);
    }
    if safe.contains([',', ';', '|', '"', '\r', '\n', '\t', '\'']) || safe.trim() != safe {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

/// A date of the Gregorian calendar in UTC: `2026-11-22T16:04:18Z`.
pub(crate) fn date(at: UnixSeconds) -> String {
    let (days, second) = (at.0 / 86_400, at.0 % 86_400);
    // Eras of 400 years from 1 March of the year 0, so that the leap day is a year's last: Howard Hinnant's algorithm.
    let shifted = days.saturating_add(719_468);
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_api::{ExitView, LastLogView, MoveView, TermsView};
    use gpux_types::{BasisPoints, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour};

    fn amount(text: &str) -> Amount {
        dai().parse(text).unwrap()
    }

    fn dai() -> Token {
        Token {
            symbol: "DAI".into(),
            decimals: 18,
        }
    }

    fn statement() -> StatementView {
        let moved = |kind, hash: &str, value| MoveView {
            kind,
            hash: hash.into(),
            amount: amount(value),
        };
        StatementView {
            reason: "completed".into(),
            reason_text: "the work is done".into(),
            by: Actor::Renter,
            metered: Millis(61_500),
            exits: vec![ExitView { code: 0, parts: 3 }, ExitView { code: 137, parts: 1 }],
            other_parts: 2,
            last_log: Some(LastLogView {
                part: PartIndex(1),
                attempt: 1,
                length: 7,
                hash: "0x10c".into(),
            }),
            signed: amount("0.02"),
            deposit: amount("1"),
            topped_up: amount("0.5"),
            earned: amount("0.018"),
            builder: amount("0.001"),
            refund: amount("1.481"),
            transactions: vec![
                moved(TransactionKind::Deposit, "0xde", "1"),
                moved(TransactionKind::TopUp, "0xa1", "0.25"),
                moved(TransactionKind::TopUp, "0xa2", "0.25"),
                moved(TransactionKind::Settlement, "0x5e", "0.019"),
            ],
            transactions_omitted: 0,
            date: UnixSeconds(1_795_363_458),
            digest: "0xd1".into(),
            signature: "0x51".into(),
        }
    }

    fn view(name: &str) -> ReceiptsView {
        let mut disputed = statement();
        disputed.refund = amount("0.1");
        let receipt = |standing, provider| ReceiptView {
            lease: LeaseId([0xab; 32]),
            side: LeaseSide::Renter,
            job: JobId([1; 16]),
            name: name.to_owned(),
            node: NodeId([2; 32]),
            standing,
            differs: if standing == RecordStanding::Disputed {
                vec!["refund".into()]
            } else {
                vec![]
            },
            price: PricePerHour(amount("1.2")),
            terms: TermsView {
                chain_id: 10,
                escrow: "0xe5".into(),
                renter: "0x4e".into(),
                receipt_key: "0x4f".into(),
                provider: "0x9a".into(),
                provider_signer: "0x9b".into(),
                token: "0xda".into(),
                builder: "0x00".into(),
                builder_share: BasisPoints::ZERO,
                grace_secs: 86_400,
                salt: "0x5a".into(),
            },
            renter: Some(statement()),
            provider,
        };
        ReceiptsView {
            next: None,
            schema: "gpux.receipts/v1".into(),
            token: dai(),
            receipts: vec![
                receipt(RecordStanding::Agreed, Some(statement())),
                receipt(RecordStanding::Disputed, Some(disputed)),
                receipt(RecordStanding::OneSided, None),
            ],
        }
    }

    #[test]
    fn receipts_look_so() {
        let text = receipts(&view("film"));
        let wanted = "\
DATE (UTC)           LEASE     JOB   AS      END                               METERED  EARNED (DAI)  REFUND (DAI)  RECORD
2026-11-22 16:04:18  abababab  film  renter  the work is done (by the renter)     1:01      0.018000      1.481000  agreed
2026-11-22 16:04:18  abababab  film  renter  the work is done (by the renter)     1:01      0.018000      1.481000  disputed
2026-11-22 16:04:18  abababab  film  renter  the work is done (by the renter)     1:01      0.018000      1.481000  one_sided

Lease abababab: the provider signed something else (refund): the work is done (by the renter), earned 0.018 DAI, refund 0.1 DAI
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn the_columns_of_the_csv_form_are_those_of_its_specification() {
        let spec = include_str!("../../../../docs/spec/receipts.md");
        assert!(
            spec.contains(&format!("\n    {}\n", COLUMNS.join(","))),
            "{}",
            COLUMNS.join(",")
        );
        let text = receipts_csv(&view("film"));
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], COLUMNS.join(","));
        let lease = "ab".repeat(32);
        assert_eq!(
            lines[1],
            format!(
                "2026-11-22T16:04:18Z,{lease},renter,{},film,{},agreed,,completed,renter,61500,3x0 1x137,2,DAI,1.2,1,0.5,\
                 0.018,0.001,1.481,0.02,0xde,0xa1 0xa2,0x5e,10,0xe5,0x4e,0x9a,0x10c,settlement",
                "01".repeat(16),
                "02".repeat(32)
            )
        );
    }

    #[test]
    fn no_cell_is_a_formula_and_every_line_has_all_its_columns() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            let safe = cell(hostile);
            assert!(safe.starts_with("\"'"), "{safe:?}");
        }
        assert_eq!(cell("a,\"b\"\r\nc"), "\"a,\"\"b\"\"\r\nc\"");
        assert_eq!(cell("plain text"), "plain text");
        for (hostile, safe) in [
            ("x;=cmd|' /C calc'!A0", "\"x;'=cmd|' /C calc'!A0\""),
            ("x\t-1", "\"x\t'-1\""),
            ("x,\"@y", "\"x,\"\"'@y\""),
            ("＝1", "\"'＝1\""),
            ("2026-11-22T16:04:18Z", "2026-11-22T16:04:18Z"),
            ("3x0 1x-1", "3x0 1x-1"),
        ] {
            assert_eq!(cell(hostile), safe);
        }
        assert!(!receipts(&view("\u{202e}mlif")).contains('\u{202e}'));
        let text = receipts_csv(&view("=HYPERLINK(\"http://a\",\"b\")"));
        assert!(text.contains(",\"'=HYPERLINK(\"\"http://a\"\",\"\"b\"\")\","), "{text}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_363_458, "2026-11-22T16:04:18Z"),
        ] {
            assert_eq!(date(UnixSeconds(secs)), wanted);
        }
        date(UnixSeconds(u64::MAX));
    }
}
