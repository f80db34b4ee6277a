//! Codes, exit statuses and help pages are promises to scripts: they never change.

use gpux_api::{ErrorBody, ErrorCode, ErrorDocument};
use serde_json::json;
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Every code with its name, its exit status and its page.
const CODES: &[(ErrorCode, &str, u8, &str)] = &[
    (ErrorCode::Internal, "internal", 1, "GPUX-0001"),
    (ErrorCode::InvalidInput, "invalid_input", 2, "GPUX-0002"),
    (ErrorCode::NoMatch, "no_match", 3, "GPUX-0003"),
    (ErrorCode::InsufficientFunds, "insufficient_funds", 4, "GPUX-0004"),
    (ErrorCode::NotAuthorised, "not_authorised", 5, "GPUX-0005"),
    (ErrorCode::NotFound, "not_found", 6, "GPUX-0006"),
    (ErrorCode::TimedOut, "timed_out", 7, "GPUX-0007"),
    (ErrorCode::Unreachable, "unreachable", 8, "GPUX-0008"),
    (ErrorCode::JobFailed, "job_failed", 9, "GPUX-0009"),
    (ErrorCode::ProviderFault, "provider_fault", 10, "GPUX-0010"),
    (ErrorCode::OverBudget, "over_budget", 4, "GPUX-0011"),
    (ErrorCode::PreflightFailed, "preflight_failed", 2, "GPUX-0012"),
    (ErrorCode::Conflict, "conflict", 1, "GPUX-0013"),
];

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors")
}

#[test]
fn every_code_keeps_its_name_its_exit_status_and_its_page() {
    for (code, name, status, page) in CODES {
        assert_eq!(serde_json::to_value(code).unwrap(), json!(name));
        assert_eq!((code.exit_status(), code.page()), (*status, *page), "{name}");
    }
}

#[test]
fn the_table_above_has_every_code() {
    let schema = serde_json::to_value(schemars::schema_for!(ErrorCode)).unwrap();
    let variants = schema["oneOf"].as_array().unwrap();
    let named: BTreeSet<&str> = variants
        .iter()
        .filter_map(|variant| variant["const"].as_str())
        .collect();
    assert_eq!(named, CODES.iter().map(|(_, name, ..)| *name).collect());
}

#[test]
fn every_code_has_a_page_that_tells_its_exit_status_and_what_to_do() {
    for (_, name, status, page) in CODES {
        let text = fs::read_to_string(pages().join(format!("{page}.md"))).unwrap();
        assert!(text.starts_with(&format!("# {page}: ")), "{name}");
        assert!(text.contains(&format!("Exit status {status}")), "{name}");
        assert!(text.contains("**What to do.**"), "{name}");
    }
}

#[test]
fn every_page_has_a_code() {
    let named: BTreeSet<String> = CODES.iter().map(|(.., page)| format!("{page}.md")).collect();
    let there = fs::read_dir(pages())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        there.filter(|name| name.starts_with("GPUX-")).collect::<BTreeSet<_>>(),
        named
    );
}

#[test]
fn an_error_document_says_what_why_and_where_to_read_on() {
    let body = ErrorBody::new(ErrorCode::NoMatch, "matching 3 nodes")
        .with_hint("wait")
        .retryable();
    let document = json!({ "schema": "gpux.error/v1", "error": {
        "code": "no_match", "message": "matching 3 nodes", "hint": "wait", "retryable": true,
        "docs": "docs/errors/GPUX-0003.md",
    } });
    assert_eq!(
        serde_json::to_value(ErrorDocument::from(body.clone())).unwrap(),
        document
    );
    assert_eq!(serde_json::from_value::<ErrorDocument>(document).unwrap().error, body);
}

#[test]
fn an_error_without_a_hint_leaves_it_out() {
    let text = serde_json::to_string(&ErrorBody::new(ErrorCode::Internal, "x")).unwrap();
    assert_eq!(
        text,
        r#"{"code":"internal","message":"x","retryable":false,"docs":"docs/errors/GPUX-0001.md"}"#
    );
}
