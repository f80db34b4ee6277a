//! Sending the wallet's token, or the chain's own coin, to somebody: `gpux wallet send`.
//!
//! A payment has a name. It is written down under its name before anything is signed, the intent of that name is journaled by the
//! sender, and asking again by the same name follows the same transaction: so neither a crash nor somebody who asks twice pays twice.

mod recipient;

use crate::{
    contracts::{estimate_view, fee_view},
    fault::{fault, internal},
    node::Node,
    renter,
};
use gpux_api::{ErrorBody, ErrorCode, SendPlanView, SendRequest, SendState, SendView};
use gpux_chain::{Call, ConfirmError, Depth, Estimate, Intent, IntentKey, KnownChain, Retry, RpcError, SendError};
use gpux_types::{Address, Amount, Token};
use recipient::Recipient;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the answer waits for the transaction's block.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest name of a payment, in characters.
const MAX_NAME: usize = 64;
/// What the wallet may have to send for a lease that is open: a top-up, and its end.
const GAS_OF_AN_OPEN_LEASE: u128 = 300_000;

/// What is written down of a payment before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payment {
    version: u16,
    to: Address,
    amount: Amount,
    coin: bool,
}

/// A payment that may be made.
struct Prepared {
    payment: Payment,
    intent: Intent,
    view: SendPlanView,
}

/// What would be sent, and what it would cost. Nothing is signed or written down.
pub(crate) async fn plan(node: &Node, request: SendRequest) -> Result<SendPlanView, ErrorBody> {
    Ok(prepare(node, request).await?.view)
}

/// Sends, and waits a minute for the block.
pub(crate) async fn send(node: &Node, request: SendRequest) -> Result<SendView, ErrorBody> {
    if request.once.is_none() {
        return Err(refuse("the payment has no name").with_hint("plan it first: the plan gives it one"));
    }
    let Prepared { payment, intent, view } = prepare(node, request).await?;
    // Once more, in one step with writing it down: somebody else may have taken the name meanwhile.
    let kept = node.store.claim_fact(&fact(&view.once), &payment);
    let kept = kept.map_err(|error| internal("writing down a payment before it is sent", &error))?;
    if kept != payment {
        return Err(other_payment(&view.once));
    }
    let sent = node
        .sender
        .send(intent)
        .await
        .map_err(|error| not_sent(&error, &view.once))?;
    let confirmed = tokio::time::timeout(PATIENCE, node.sender.confirmed(sent.hash, Depth::Latest)).await;
    let mined = match confirmed {
        Ok(Ok(mined)) => Some(mined),
        Ok(Err(error)) => return Err(not_confirmed(&error, &view.once)),
        Err(_) => None,
    };
    Ok(SendView {
        schema: "gpux.send/v1".into(),
        once: view.once,
        to: view.to,
        token: view.token,
        amount: view.amount,
        state: if mined.is_some() {
            SendState::Mined
        } else {
            SendState::OnItsWay
        },
        hash: mined.as_ref().map_or(sent.hash, |mined| mined.hash).to_string(),
        transaction: mined.as_ref().map(fee_view),
    })
}

/// What is wished, understood; nothing was asked of the chain.
struct Wish {
    once: String,
    has_checksum: bool,
    token: Token,
    payment: Payment,
    force: bool,
}

fn read(node: &Node, request: SendRequest) -> Result<Wish, ErrorBody> {
    let once = match request.once {
        Some(once) => check_name(once)?,
        None => node
            .entropy
            .bytes::<8>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    };
    let Recipient {
        address: to,
        has_checksum,
    } = recipient::read(&request.to, &forbidden(node))?;
    let coins = request.coin;
    let token = if coins {
        coin()
    } else {
        node.chain.token().token.clone()
    };
    let amount = token.parse(&request.amount);
    let amount = amount
        .map_err(|error| fault(ErrorCode::InvalidInput, ATTEMPTED, &error).with_hint("give digits such as 12.5"))?;
    if amount == Amount::ZERO {
        return Err(refuse("the amount is zero"));
    }
    Ok(Wish {
        once,
        has_checksum,
        token,
        payment: Payment {
            version: 1,
            to,
            amount,
            coin: coins,
        },
        force: request.force,
    })
}

async fn prepare(node: &Node, request: SendRequest) -> Result<Prepared, ErrorBody> {
    let Wish {
        once,
        has_checksum,
        token,
        payment,
        force,
    } = read(node, request)?;
    let Payment { to, amount, coin, .. } = payment;
    let intent = intent(node, &once, &payment)?;
    let sent_before = was_sent(node, &once, &payment, &intent.key).await?;
    let balance = balance(node, coin).await?;
    let (estimate, set_aside) = if sent_before {
        (None, Amount::ZERO)
    } else {
        let set_aside = set_aside(node, coin)?;
        check_balance(&token, (amount, balance), set_aside, force)?;
        let estimate = node
            .chain
            .estimate(node.wallet.address(), &intent, node.max_fee_per_gas)
            .await;
        let estimate = estimate.map_err(|error| not_sent(&error, &once))?;
        check_fee(node, &payment, &estimate).await?;
        (Some(estimate), set_aside)
    };
    let chain_id = node.config.chain.chain_id;
    let view = SendPlanView {
        schema: "gpux.send-plan/v1".into(),
        once,
        to: to.to_string(),
        has_checksum,
        is_contract: node.chain.has_code(to).await.map_err(unreachable)?,
        chain_id,
        chain: KnownChain::with_id(chain_id).map(|known| known.name.to_owned()),
        token_address: (!coin).then(|| node.chain.token().address.to_string()),
        token,
        amount,
        balance,
        set_aside,
        estimate: estimate.as_ref().map(estimate_view),
        sent_before,
    };
    Ok(Prepared { payment, intent, view })
}

const ATTEMPTED: &str = "sending money";

fn refuse(why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidInput, format!("{ATTEMPTED}: {why}; nothing was sent"))
}

fn unreachable(error: RpcError) -> ErrorBody {
    fault(ErrorCode::Unreachable, "asking the chain before money is sent", &error).retryable()
}

/// The chain's own coin, as amounts of it are written.
fn coin() -> Token {
    Token {
        symbol: "ETH".into(),
        decimals: 18,
    }
}

fn check_name(once: String) -> Result<String, ErrorBody> {
    let fits = (1..=MAX_NAME).contains(&once.len())
        && once
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(once);
    }
    Err(refuse(&format!(
        "the name that makes it once must have 1 to {MAX_NAME} letters, digits, dashes, dots or underscores"
    )))
}

fn fact(once: &str) -> String {
    format!("payment:{once}")
}

/// Where money would be lost, and what each of them is.
fn forbidden(node: &Node) -> [(Address, &'static str); 4] {
    [
        (node.wallet.address(), "it is this wallet's own address"),
        (
            node.config.chain.escrow,
            "it is the escrow, which takes deposits by `gpux run` and `gpux topup` alone",
        ),
        (node.config.chain.node_directory, "it is the node directory"),
        (
            node.chain.token().address,
            "it is the token's contract, which keeps for ever what is sent to it",
        ),
    ]
}

fn intent(node: &Node, once: &str, payment: &Payment) -> Result<Intent, ErrorBody> {
    let key = IntentKey::new(fact(once)).map_err(|error| internal("naming a payment", &error))?;
    let Payment { to, amount, coin, .. } = *payment;
    let call = if coin {
        Call::TransferNative {
            to,
            wei: amount.units(),
        }
    } else {
        let token = node.chain.token().address;
        Call::TransferToken { token, to, amount }
    };
    Ok(Intent { key, call })
}

/// Whether this payment was signed before and may have taken effect.
///
/// # Errors
/// When another payment has its name.
async fn was_sent(node: &Node, once: &str, payment: &Payment, key: &IntentKey) -> Result<bool, ErrorBody> {
    let known = node.store.fact::<Payment>(&fact(once));
    let known = known.map_err(|error| internal("reading a payment", &error))?;
    if known.is_some_and(|known| known != *payment) {
        return Err(other_payment(once));
    }
    let signed = node.sender.could_take_effect(key).await;
    signed.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::Internal,
            format!("{ATTEMPTED}: the daemon is ending; nothing was sent"),
        )
    })
}

fn other_payment(once: &str) -> ErrorBody {
    let message = format!(
        "{ATTEMPTED}: the name {once} is of another payment, to somebody else or of another amount; nothing was sent"
    );
    ErrorBody::new(ErrorCode::Conflict, message).with_hint("give this one another --once, or none")
}

async fn balance(node: &Node, coin: bool) -> Result<Amount, ErrorBody> {
    let wallet = node.wallet.address();
    if !coin {
        return node.chain.token_balance(wallet).await.map_err(unreachable);
    }
    let wei = node.chain.native_balance(wallet).await.map_err(unreachable)?;
    Ok(Amount::new(wei).unwrap_or(Amount::MAX))
}

/// What open jobs may still need: of the token what they may top up by themselves, of the coin the fees of their leases.
fn set_aside(node: &Node, coin: bool) -> Result<Amount, ErrorBody> {
    if !coin {
        return renter::set_aside(node).map_err(|error| internal("reading what jobs may need", &error));
    }
    let leases = u128::try_from(node.renter.open_leases()).unwrap_or(u128::MAX);
    let base_fee = node.watcher.newest().map_or(0, |head| head.base_fee);
    let price = base_fee.saturating_mul(2).min(node.max_fee_per_gas);
    let wei = leases.saturating_mul(GAS_OF_AN_OPEN_LEASE).saturating_mul(price);
    Ok(Amount::new(wei).unwrap_or(Amount::MAX))
}

fn check_balance(
    token: &Token,
    (amount, balance): (Amount, Amount),
    set_aside: Amount,
    force: bool,
) -> Result<(), ErrorBody> {
    let Some(left) = balance.checked_sub(amount) else {
        let message = format!(
            "{ATTEMPTED}: the wallet has {}, and {} were asked for; nothing was sent",
            token.format(balance),
            token.format(amount)
        );
        return Err(ErrorBody::new(ErrorCode::InsufficientFunds, message));
    };
    if left >= set_aside || force {
        return Ok(());
    }
    let message = format!(
        "{ATTEMPTED}: open jobs may still need {}, and {} would be left; nothing was sent",
        token.format(set_aside),
        token.format(left)
    );
    let most = token.format(balance.saturating_sub(set_aside));
    Err(ErrorBody::new(ErrorCode::InsufficientFunds, message).with_hint(format!(
        "send {most} or less, wait until the jobs are over, or give --force: their work may stop then"
    )))
}

/// Whether the wallet's coin is enough for the fee, and for the payment where that is in coin.
async fn check_fee(node: &Node, payment: &Payment, estimate: &Estimate) -> Result<(), ErrorBody> {
    let has = node
        .chain
        .native_balance(node.wallet.address())
        .await
        .map_err(unreachable)?;
    let paid = if payment.coin { payment.amount.units() } else { 0 };
    let need = paid.saturating_add(estimate.most);
    if has >= need {
        return Ok(());
    }
    let coins = |wei| coin().format(Amount::new(wei).unwrap_or(Amount::MAX));
    let message = format!(
        "{ATTEMPTED}: the wallet has {}, and with the fee up to {} is needed; nothing was sent",
        coins(has),
        coins(need)
    );
    Err(ErrorBody::new(ErrorCode::InsufficientFunds, message)
        .with_hint("fees are paid in the chain's own coin: send less of it, or add some"))
}

fn not_sent(error: &SendError, once: &str) -> ErrorBody {
    let code = match error {
        SendError::InsufficientBalance { .. } | SendError::InsufficientNative { .. } => ErrorCode::InsufficientFunds,
        SendError::FeeTooHigh { .. } => ErrorCode::OverBudget,
        SendError::Rpc { .. } => ErrorCode::Unreachable,
        SendError::Reverted { .. }
        | SendError::NeedsAllowance { .. }
        | SendError::Undecided { .. }
        | SendError::Busy { .. } => ErrorCode::Conflict,
        SendError::Encode { .. }
        | SendError::Journal { .. }
        | SendError::FailedBesides { .. }
        | SendError::Stopped { .. } => ErrorCode::Internal,
    };
    let body = fault(code, ATTEMPTED, error);
    if code == ErrorCode::OverBudget {
        body.with_hint("wait, or raise chain.max_fee_per_gas")
    } else if error.retry() == Retry::Never {
        body
    } else {
        body.with_hint(again(once)).retryable()
    }
}

fn not_confirmed(error: &ConfirmError, once: &str) -> ErrorBody {
    let code = match error {
        ConfirmError::Reverted { .. } | ConfirmError::Refused { .. } => ErrorCode::Conflict,
        ConfirmError::Unknown { .. } | ConfirmError::Rpc { .. } => ErrorCode::Unreachable,
        ConfirmError::Stopped { .. } => ErrorCode::Internal,
    };
    fault(code, "following what was sent", error)
        .with_hint(again(once))
        .retryable()
}

fn again(once: &str) -> String {
    format!("ask again with --once {once}: it is never paid twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_open_jobs_may_need_stays_unless_forced() {
        let token = coin();
        let amount = |text: &str| token.parse(text).unwrap();
        let check = |send: &str, force| check_balance(&token, (amount(send), amount("10")), amount("4"), force);
        assert_eq!(check("6", false), Ok(()));
        let refused = check("6.000000000000000001", false).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InsufficientFunds);
        assert!(refused.message.contains("4 ETH") && refused.hint.unwrap().contains("send 6 ETH or less"));
        assert_eq!(check("10", true), Ok(()));
        assert!(
            check("10.000000000000000001", true).is_err(),
            "nobody has more than there is"
        );
    }

    #[test]
    fn names_of_payments_are_plain_words() {
        for name in ["rent-2026.11", "A_1", &"x".repeat(64)] {
            assert_eq!(check_name(name.into()).unwrap(), name);
            assert!(IntentKey::new(fact(name)).is_ok());
        }
        for name in ["", "a b", "a:b", "ä", &"x".repeat(65)] {
            assert!(check_name(name.into()).is_err(), "{name}");
        }
    }
}
