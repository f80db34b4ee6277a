//! Money that is sent, and how it is received.

use super::contracts::coin;
use gpux_api::{AddressView, SendPlanView, SendState, SendView};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// What would be sent, and what the sender should know before saying yes.
pub(crate) fn send_plan(plan: &SendPlanView) -> String {
    let on = match &plan.chain {
        Some(name) => format!("chain {} ({name})", plan.chain_id),
        None => format!("chain {}", plan.chain_id),
    };
    let amount = plan.token.format(plan.amount);
    if plan.sent_before {
        return format!(
            "{amount} to {} on {on}: sent before by this name, and not sent again",
            plan.to
        );
    }
    let left = plan.balance.saturating_sub(plan.amount);
    let mut text = format!(
        "send {amount} to {} on {on}\n  the wallet has {}; {} are left\n",
        plan.to,
        plan.token.format(plan.balance),
        plan.token.format(left)
    );
    if let Some(fee) = &plan.estimate {
        text.push_str(&format!(
            "  the fee is {} now, at most {}\n",
            coin(&fee.now_wei),
            coin(&fee.most_wei)
        ));
    }
    if !plan.has_checksum {
        text.push_str("  the address has no checksum, so nothing shows a mistyped one: compare each character\n");
    }
    if plan.is_contract {
        text.push_str("  there is a contract at this address: make sure that it can use what it is sent\n");
    }
    if left < plan.set_aside {
        text.push_str(&format!(
            "  open jobs may still need {}: their work may stop\n",
            plan.token.format(plan.set_aside)
        ));
    }
    text
}

/// Whether to send it.
pub(crate) fn send_question(plan: &SendPlanView) -> String {
    format!("Send {} to {}?", plan.token.format(plan.amount), plan.to)
}

/// The bill.
pub(crate) fn sent(view: &SendView) -> String {
    let what = format!("{} to {}", view.token.format(view.amount), view.to);
    match (view.state, &view.transaction) {
        (SendState::Mined, Some(paid)) => format!(
            "sent {what}\n  transaction {} in block {}, fee {}\n",
            paid.hash,
            paid.block,
            coin(&paid.l2_fee_wei)
        ),
        _ => format!(
            "on its way: {what}\n  transaction {}; the daemon sees to it, also over restarts\n  how far it is: the same command with --once {}\n",
            view.hash, view.once
        ),
    }
}

/// The screen for somebody who pays in.
pub(crate) fn receive(view: &AddressView, colours: bool) -> String {
    let link = view.uri.as_deref();
    let mut text = qr(link.unwrap_or(&view.address), colours).unwrap_or_default();
    text.push_str(&format!("{}\n", view.address));
    if let Some(link) = link {
        text.push_str(&format!("{link}\n"));
    }
    if let Some(chain_id) = view.chain_id {
        let chain = view.chain.as_deref().unwrap_or("this chain");
        text.push_str(&format!("\non chain {chain_id} ({chain}) and no other:\n"));
        if let Some(token) = &view.token_address {
            text.push_str(&format!("  the token {token}, for deposits\n"));
        }
        text.push_str("  a little of the chain's own coin, for fees\n");
    }
    text
}

/// A QR code in half blocks. Light modules are drawn, as on a dark screen; with colours it is right on a light one too. `None` for a
/// text that is too long for one.
fn qr(text: &str, colours: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    let line = |line: &str| {
        if colours {
            format!("\u{1b}[97;40m{line}\u{1b}[0m\n")
        } else {
            format!("{line}\n")
        }
    };
    Some(drawn.lines().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_api::{FeeEstimateView, FeeView};
    use gpux_types::{Amount, Token};
    use qrcode::Color;

    const LINK: &str = "ethereum:0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85@11155420";

    fn usdc() -> Token {
        Token {
            symbol: "USDC".into(),
            decimals: 6,
        }
    }

    fn plan() -> SendPlanView {
        SendPlanView {
            schema: "gpux.send-plan/v1".into(),
            once: "rent".into(),
            to: "0xAb".into(),
            has_checksum: true,
            is_contract: false,
            chain_id: 10,
            chain: Some("optimism".into()),
            token: usdc(),
            token_address: Some("0xCd".into()),
            amount: Amount::new(12_500_001).unwrap(),
            balance: Amount::new(20_000_000).unwrap(),
            set_aside: Amount::new(1_000_000).unwrap(),
            estimate: Some(FeeEstimateView {
                gas: 60_000,
                now_wei: "60000000000".into(),
                most_wei: "2000000000001".into(),
            }),
            sent_before: false,
        }
    }

    #[test]
    fn a_plan_says_the_exact_amount_and_only_what_is_to_be_known() {
        assert_eq!(
            send_plan(&plan()),
            "send 12.500001 USDC to 0xAb on chain 10 (optimism)\n  the wallet has 20 USDC; 7.499999 USDC are left\n\
             \x20 the fee is 0.000001 ETH now, at most 0.000003 ETH\n"
        );
        let warned = SendPlanView {
            has_checksum: false,
            is_contract: true,
            set_aside: Amount::new(8_000_000).unwrap(),
            ..plan()
        };
        let text = send_plan(&warned);
        for words in [
            "has no checksum",
            "there is a contract",
            "open jobs may still need 8 USDC",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(send_question(&plan()), "Send 12.500001 USDC to 0xAb?");
    }

    #[test]
    fn what_waits_for_its_block_says_how_to_ask_again() {
        let mut view = SendView {
            schema: "gpux.send/v1".into(),
            once: "rent".into(),
            to: "0xAb".into(),
            token: usdc(),
            amount: Amount::new(12_500_001).unwrap(),
            state: SendState::OnItsWay,
            hash: "0x01".into(),
            transaction: None,
        };
        assert!(sent(&view).contains("--once rent"), "{}", sent(&view));
        view.state = SendState::Mined;
        view.transaction = Some(FeeView {
            hash: "0x01".into(),
            block: 7,
            gas_used: 60_000,
            l2_fee_wei: "60000000000".into(),
            l1_fee_wei: None,
            l1_estimated: true,
        });
        assert_eq!(
            sent(&view),
            "sent 12.500001 USDC to 0xAb\n  transaction 0x01 in block 7, fee 0.000001 ETH\n"
        );
    }

    #[test]
    fn each_module_of_the_code_is_half_a_character_with_a_light_border() {
        let code = QrCode::with_error_correction_level(LINK, EcLevel::M).unwrap();
        let (width, modules) = (code.width(), code.to_colors());
        let drawn = qr(LINK, false).unwrap();
        let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        assert!(
            lines.iter().all(|line| line.len() == width + 8),
            "it fits a terminal of 80 columns"
        );
        assert!(width + 8 < 80);
        let is_light = |x: usize, y: usize| match (lines[y / 2][x], y % 2) {
            ('█', _) | ('▀', 0) | ('▄', 1) => true,
            (' ', _) | ('▀', 1) | ('▄', 0) => false,
            other => panic!("{other:?}"),
        };
        for y in 0..width + 8 {
            for x in 0..width + 8 {
                let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                let light = !inside || modules[(y - 4) * width + (x - 4)] == Color::Light;
                assert_eq!(is_light(x, y), light, "{x} {y}");
            }
        }
        assert!(
            qr(LINK, true)
                .unwrap()
                .lines()
                .all(|line| line.starts_with("\u{1b}[97;40m") && line.ends_with("\u{1b}[0m"))
        );
    }

    #[test]
    fn who_pays_in_is_told_the_chain_and_the_token() {
        let view = AddressView {
            uri: Some(LINK.into()),
            chain_id: Some(11_155_420),
            chain: Some("OP Sepolia, a test network".into()),
            token_address: Some("0x5fd84259d66Cd46123540766Be93DFE6D43130D7".into()),
            ..AddressView::from("0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85".to_owned())
        };
        let text = receive(&view, false);
        for words in [
            LINK,
            "chain 11155420",
            "0x5fd84259d66Cd46123540766Be93DFE6D43130D7",
            "for fees",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}
