//! What people see. Every function turns a document of the API into text; nothing here asks or decides.

mod cost;
mod job;
mod market;
mod progress;
mod system;
mod table;

pub(crate) use cost::{bill, top_up};
pub(crate) use job::{end, job_line, jobs, log_line};
pub(crate) use market::{offers, plan};
pub(crate) use progress::Progress;
pub(crate) use system::{devnet, doctor, wallet};

use gpux_types::{Amount, Millis, PricePerHour, Token};

/// How many digits behind the point amounts have on screens; `--json` has all of them.
const AMOUNT_DIGITS: usize = 6;

fn money(token: &Token, amount: Amount) -> String {
    token.format_short(amount, AMOUNT_DIGITS)
}

fn price(token: &Token, price: PricePerHour) -> String {
    format!("{}/h", token.format_short(price.0, 4))
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

/// The beginning of an address or hash, for screens.
fn short(text: &str) -> String {
    let body = text.strip_prefix("0x").unwrap_or(text);
    let head: String = body.chars().take(8).collect();
    if text.starts_with("0x") { format!("0x{head}") } else { head }
}
