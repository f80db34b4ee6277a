//! What people see. Every function turns a document of the API into text; nothing here asks or decides.

mod away;
mod checklist;
mod context;
mod contracts;
mod cost;
mod details;
mod events;
mod gpus;
mod job;
mod market;
mod node;
mod progress;
mod receipts;
mod send;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod validation;

pub(crate) use away::{away, away_done, away_question, back};
pub(crate) use context::{context, contexts};
pub(crate) use contracts::{contracts, deploy_question, deployed};
pub(crate) use cost::{bill, top_up};
pub(crate) use details::details;
pub(crate) use events::Events;
pub(crate) use gpus::gpus;
pub(crate) use job::{diagnosis, end, job_line, jobs, log_line, state_word};
pub(crate) use market::{offers, plan};
pub(crate) use node::{drained, earnings, is_drained, node, prices, taking, what_is_left};
pub(crate) use progress::Progress;
pub(crate) use receipts::{receipts, receipts_csv};
pub(crate) use send::{receive, send_plan, send_question, sent};
pub(crate) use system::{devnet, doctor, wallet};
pub(crate) use validation::validation;

use gpux_types::{Amount, Millis, PricePerHour, Token};

/// How many digits behind the point amounts have on screens; `--json` has all of them.
const AMOUNT_DIGITS: usize = 6;
/// How many digits behind the point prices have.
const PRICE_DIGITS: usize = 4;

/// An amount in a sentence, rounded down: `0.05 DAI`.
fn money(token: &Token, amount: Amount) -> String {
    let hidden = token.format_short(amount, AMOUNT_DIGITS) == token.format_short(Amount::ZERO, AMOUNT_DIGITS);
    if hidden && amount > Amount::ZERO {
        return format!("less than {} {}", smallest(AMOUNT_DIGITS), token.symbol);
    }
    token.format_short(amount, AMOUNT_DIGITS)
}

/// An amount that is not to be exceeded, so rounded up.
fn money_at_most(token: &Token, amount: Amount) -> String {
    let hidden_digits = usize::from(token.decimals).saturating_sub(AMOUNT_DIGITS);
    let step = u32::try_from(hidden_digits)
        .ok()
        .and_then(|digits| 10_u128.checked_pow(digits));
    let rounded = step.map(|step| amount.units().div_ceil(step) * step);
    money(
        token,
        rounded.and_then(|units| Amount::new(units).ok()).unwrap_or(amount),
    )
}

/// An amount in a column whose heading names the token: always as many digits behind the point, rounded down.
fn column(token: &Token, amount: Amount, digits: usize) -> String {
    let digits = digits.min(usize::from(token.decimals));
    let text = token.format_short(amount, digits);
    let number = text.split(' ').next().unwrap_or_default();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if amount > Amount::ZERO && digits > 0 && whole == "0" && fraction.is_empty() {
        return format!("<{}", smallest(digits));
    }
    if digits == 0 {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction:0<digits$}")
    }
}

/// The smallest number with so many digits behind the point: `0.001`.
fn smallest(digits: usize) -> String {
    format!("0.{:0>digits$}", 1)
}

fn price(token: &Token, price: PricePerHour) -> String {
    format!("{} {}/h", column(token, price.0, PRICE_DIGITS), token.symbol)
}

/// `1:02:03`, `2:03` or `3.4s`.
fn clock(time: Millis) -> String {
    let secs = time.as_secs();
    match secs {
        0..60 => format!("{}.{}s", secs, time.0 % 1_000 / 100),
        60..3_600 => format!("{}:{:02}", secs / 60, secs % 60),
        _ => format!("{}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60),
    }
}

/// `1 node`, `3 nodes`.
fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// The beginning of an address or hash, for screens.
fn short(text: &str) -> String {
    let body = text.strip_prefix("0x").unwrap_or(text);
    let head: String = body.chars().take(8).collect();
    if text.starts_with("0x") {
        format!("0x{head}")
    } else {
        head
    }
}
