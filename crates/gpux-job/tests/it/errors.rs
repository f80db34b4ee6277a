//! What people read when a file is wrong: each case is one change to a right file, and the whole message.

use super::FULL;
use gpux_job::{JobFile, Overrides};
use std::path::Path;

/// `FULL` with one text replaced by another, and the message about it.
type Case = (&'static str, &'static str, &'static str);

fn message_of(text: &str) -> String {
    let file = match JobFile::parse(text) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let resolved = file.resolve(&Overrides::default(), Path::new("/jobs"));
    resolved.map_or_else(|error| error.to_string(), |_| "no error".to_owned())
}

fn check(cases: &[Case]) {
    let wrong = |(from, to, wanted): &Case| {
        assert!(FULL.contains(from), "{from}");
        let message = message_of(&FULL.replacen(from, to, 1));
        (message != *wanted).then(|| format!("{from} -> {to}\n  has    {message}\n  wanted {wanted}\n"))
    };
    let wrong: String = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn unknown_keys_say_what_was_meant() {
    check(&[
        (
            "image:",
            "imagee:",
            r#"line 5, column 1: unknown key "imagee", did you mean "image"?"#,
        ),
        (
            "environment:",
            "env:",
            r#"line 8, column 1: unknown key "env": write environment"#,
        ),
        (
            "resources: {",
            "resources: { gpus: 1, ",
            r#"line 7, column 14: unknown key "gpus": write resources: { gpu: 24GB.. }"#,
        ),
        (
            "max_price",
            "max_prize",
            r#"line 23, column 11: unknown key "max_prize", did you mean "max_price"?"#,
        ),
        (
            "to: /in",
            "target: /in",
            r#"line 10, column 31: unknown key "target"; there are path, to"#,
        ),
        (
            "default:",
            "defaults:",
            r#"line 14, column 12: unknown key "defaults", did you mean "default"?"#,
        ),
        (
            "[provider-fault, error]",
            "[provider_fault]",
            r#"line 22, column 15: unknown value "provider_fault", did you mean "provider-fault"?"#,
        ),
        (
            "[provider-fault, error]",
            "[banana]",
            r#"line 22, column 15: unknown value "banana"; there are provider-fault, error"#,
        ),
        (
            "type: number",
            "type: float",
            r#"line 14, column 33: unknown value "float"; there are text, integer, number, bool, range"#,
        ),
        (
            "over: frames",
            "over: frame",
            r#"line 16, column 9: array.over: there is no param frame, did you mean "frames"?"#,
        ),
        (
            "name: shot-03",
            "name: a\nname: b",
            r#"line 5, column 1: the key "name" comes twice"#,
        ),
    ]);
}

#[test]
fn another_version_or_kind_says_what_there_is() {
    check(&[
        (
            "gpux: 1",
            "gpux: 2",
            r#"line 2, column 7: version "2" of the job file is not supported: write gpux: 1"#,
        ),
        ("gpux: 1\n", "\n", "the key gpux is missing"),
        (
            "kind: array",
            "kind: service",
            "line 3, column 7: kind service is not supported by this version: there are array and task",
        ),
        (
            "kind: array",
            "kind: task",
            "line 16, column 3: the key array belongs to kind: array, and this is another",
        ),
        (
            "kind: array",
            "kind: arrray",
            r#"line 3, column 7: unknown kind "arrray": there are array and task"#,
        ),
    ]);
}

#[test]
fn wrong_units_say_what_a_right_one_looks_like() {
    check(&[
        (
            "cpu: 1.5",
            "cpu: 500m",
            r#"line 7, column 19: reading cores from "500m": expected a number with at most three digits behind the point, such as 2 or 0.5"#,
        ),
        (
            "memory: 2GiB",
            "memory: 2G",
            r#"line 7, column 32: reading a size from "2G": expected digits and a unit, such as 512MiB or 20GB"#,
        ),
        (
            "memory: 2GiB",
            "memory: 2048",
            r#"line 7, column 32: reading a size from "2048": expected digits and a unit, such as 512MiB or 20GB"#,
        ),
        (
            "0.40 DAI/hour",
            "0.40",
            r#"line 23, column 22: reading a price from "0.40": expected an amount for each hour, such as 0.40/hour or "0.40 DAI/hour""#,
        ),
        (
            "0.40 DAI/hour",
            "0.40 DAI/day",
            r#"line 23, column 22: reading a price from "0.40 DAI/day": expected an amount for each hour, such as 0.40/hour or "0.40 DAI/hour""#,
        ),
        (
            "5 DAI",
            "5 DAI/hour",
            r#"line 23, column 48: reading an amount from "5 DAI/hour": expected digits and perhaps a token, such as 5, 0.40 or "5 DAI""#,
        ),
        (
            "2h",
            "2 hours",
            r#"line 23, column 69: reading a duration from "2 hours": expected digits and a unit, such as 90s, 15m, 12h or 2d"#,
        ),
        (
            "2h",
            "5s",
            "line 23, column 69: budget.max_duration: 5s is outside 1m to 90d",
        ),
        (
            "2.5%",
            "0.05",
            r#"line 24, column 74: reading a share from "0.05": expected percent with at most two digits behind the point, such as 5% or 2.5%"#,
        ),
        (
            "2.5%",
            "11%",
            r#"line 24, column 74: reading a share from "11%": a builder's share is at most 10%"#,
        ),
        (
            "nodes: 3",
            "nodes: three",
            "line 6, column 8: expected a whole number, such as 3",
        ),
    ]);
}

#[test]
fn wrong_values_say_where_and_why() {
    check(&[
        (
            "name: shot-03",
            "name: Shot 3",
            r#"line 4, column 7: reading a job's name from "Shot 3": expected at most 63 lower-case letters, digits and inner hyphens, such as shot-03"#,
        ),
        (
            "LOG_LEVEL",
            "GPUX_LEVEL",
            r#"line 8, column 16: reading a variable's name from "GPUX_LEVEL": names that begin with GPUX_ are set by GPUX"#,
        ),
        (
            "oci:build/image:render",
            "docker://debian",
            r#"line 5, column 8: reading an image from "docker://debian": docker:// is not supported; write oci:DIR[:TAG] or a registry's reference without a scheme"#,
        ),
        (
            "nodes: 3",
            "nodes: 0",
            "line 6, column 8: nodes: 0 is outside 1 to 1000",
        ),
        ("cpu: 1.5", "cpu: 0", "line 7, column 12: resources: cpu is 0"),
        (
            "{ cpu: 1.5, memory: 2GiB, disk: 2GB }",
            "big",
            "line 7, column 12: expected keys with values here, such as { key: value }",
        ),
        (
            "to: /in/scene.blend",
            "to: in/scene.blend",
            r#"line 10, column 35: reading a path inside the container from "in/scene.blend": expected an absolute path without . or .., such as /in/scene.blend"#,
        ),
        (
            "to: /in/scene.blend",
            "to: /out/scene.blend",
            "line 10, column 10: input scene and array.collect overlap in the container",
        ),
        (
            "path: scene.blend",
            "path: ''",
            "line 10, column 10: path of input scene is empty",
        ),
        (
            "frames: 1-48",
            "frames: 48-1",
            r#"line 12, column 11: param frames: reading a range from "48-1": 48-1 runs backwards"#,
        ),
        (
            "frames: 1-48",
            "frames: all",
            r#"line 12, column 11: param frames: reading a range from "all": expected whole numbers, such as 1-48, 7 or 3,5-10,20-24"#,
        ),
        (
            "default: 1.50",
            "default: much",
            r#"line 14, column 10: param scale: "much" is not a number such as 2 or 0.5"#,
        ),
        (
            "/out/*.png",
            "/results/*.png",
            "line 17, column 12: array.collect: /results/*.png can match nothing: only files below /out come back, as with /out/*.png",
        ),
        (
            "/out/*.png",
            "'/out/[0-9].png'",
            r#"line 17, column 12: reading a pattern from "/out/[0-9].png": '[' is not supported; there are *, ? and **"#,
        ),
        ("[render, --quiet]", "[]", "line 19, column 6: run is empty"),
        (
            "max: 2",
            "max: 1000",
            "line 22, column 44: retry.max: 1000 is over the limit of 100",
        ),
        (
            "D2E4169EE7",
            "D2E4169Ee7",
            r#"line 24, column 21: reading an address from "0x52908400098527886E0F7030069857D2E4169Ee7": its checksum is wrong, so a character may be"#,
        ),
        (
            ", max_duration: 2h",
            "",
            "budget.max_duration is missing: how long may each lease last, such as 2h",
        ),
    ]);
}

#[test]
fn a_key_without_its_value_is_a_mistake_not_a_default() {
    check(&[
        ("name: shot-03", "name:", "line 4, column 5: nothing stands here"),
        (
            "max_price: 0.40 DAI/hour",
            "max_price:",
            "line 23, column 20: nothing stands here",
        ),
        ("output: results", "output:", "line 25, column 7: nothing stands here"),
    ]);
}

#[test]
fn yaml_that_a_job_file_does_not_use_is_refused() {
    check(&[
        (
            "/out/*.png",
            "*.png",
            "line 17, column 12: anchors (&) and aliases (*) are not supported; a text that begins with one of them needs quotes",
        ),
        (
            "name: shot-03",
            "name: &a shot-03",
            "line 4, column 10: anchors (&) and aliases (*) are not supported; a text that begins with one of them needs quotes",
        ),
        (
            "environment: {",
            "environment: { <<: { A: b },",
            "line 8, column 16: merge key not allowed here",
        ),
        (
            "name: shot-03",
            "name: !secret shot-03",
            "line 4, column 15: unsupported tag `!secret`",
        ),
        (
            "output: results",
            "---\noutput: results",
            "line 25, column 1: a file holds one job: --- begins another",
        ),
    ]);
}

#[test]
fn a_file_that_is_no_table_says_so() {
    assert_eq!(message_of(""), "line 1, column 1: the file is empty, or ends too early");
    for text in ["[]", "just text"] {
        assert_eq!(
            message_of(text),
            "line 1, column 1: expected keys with values here, such as { key: value }"
        );
    }
}

#[test]
fn names_typed_beside_the_file_are_checked_too() {
    let file = JobFile::parse(FULL).unwrap();
    let message = |overrides: &Overrides| file.resolve(overrides, Path::new("/jobs")).unwrap_err().to_string();
    let mut overrides = Overrides::default();
    overrides.set_param("frame=1-24").unwrap();
    assert_eq!(
        message(&overrides),
        "--set frame: the job has no such param, did you mean \"frames\"?"
    );
    let mut overrides = Overrides::default();
    overrides.set_input("model=x", Path::new("/")).unwrap();
    assert_eq!(
        message(&overrides),
        "--input model: the job has no such input; there are scene"
    );
    let mut overrides = Overrides::default();
    overrides.set_param("samples=many").unwrap();
    assert_eq!(message(&overrides), "param samples: \"many\" is not a whole number");
}

#[test]
fn a_param_without_a_default_must_be_set() {
    let file = JobFile::parse(&FULL.replace("samples: 64", "samples: { type: integer }")).unwrap();
    let error = file.resolve(&Overrides::default(), Path::new("/jobs")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 13, column 12: param samples has no default: give it with --set samples=…"
    );
    let mut overrides = Overrides::default();
    overrides.set_param("samples=16").unwrap();
    assert!(file.resolve(&overrides, Path::new("/jobs")).is_ok());
}

#[test]
fn a_part_of_nothing_and_money_without_an_end_are_refused() {
    check(&[
        (
            "over: frames",
            "over: frames\n  chunk: 0",
            "line 17, column 10: array.chunk: 0 values are no part; write at least 1",
        ),
        (
            "max_total: 5 DAI",
            "at_zero: top-up",
            "line 23, column 46: budget.at_zero: top-up adds what budget.max_total leaves, and that is missing",
        ),
        (
            "max_total: 5 DAI",
            "at_zero: freeze",
            r#"line 23, column 46: unknown value "freeze"; there are stop, top-up"#,
        ),
    ]);
}

#[test]
fn values_outside_what_a_param_takes_name_the_bound() {
    let bounded = |table: &str| message_of(&FULL.replacen("samples: 64", &format!("samples: {{ {table} }}"), 1));
    let cases = [
        ("default: 64, min: 1, max: 128", "no error"),
        (
            "default: 0, min: 1",
            "line 13, column 12: param samples: 0 is under its min of 1",
        ),
        (
            "default: 129, max: 128",
            "line 13, column 12: param samples: 129 is over its max of 128",
        ),
        (
            "default: -0.5, min: -0.25",
            "line 13, column 12: param samples: -0.5 is under its min of -0.25",
        ),
        ("default: 1.50, one_of: [1.5, 2]", "no error"),
        (
            "default: 3, one_of: [1, 2]",
            r#"line 13, column 12: param samples: "3" is none of its one_of; there are 1, 2"#,
        ),
        (
            "default: cyles, one_of: [cycles, eevee]",
            r#"line 13, column 12: param samples: "cyles" is none of its one_of, did you mean "cycles"?"#,
        ),
        (
            "default: a, max: 3",
            "line 13, column 12: param samples: min and max bound numbers and ranges, and it is neither; its type says which",
        ),
        (
            "default: 1, max: many",
            r#"line 13, column 12: param samples: its max, "many", is not a number"#,
        ),
        (
            "type: integer, default: 5, min: 9, max: 8",
            "line 13, column 12: param samples: its min of 9 is over its max of 8",
        ),
        (
            "default: 1, one_of: []",
            "line 13, column 12: param samples: one_of lists 0 values; 1 to 64 make a choice",
        ),
    ];
    for (table, wanted) in cases {
        assert_eq!(bounded(table), wanted, "{table}");
    }
}

#[test]
fn what_is_typed_is_bounded_too_and_so_are_the_values_of_an_array() {
    let text = FULL
        .replacen("samples: 64", "samples: { default: 64, min: 1 }", 1)
        .replacen("frames: 1-48", "frames: { default: 1-48, min: 1, max: 250 }", 1);
    let file = JobFile::parse(&text).unwrap();
    let message = |set: &str| {
        let mut overrides = Overrides::default();
        overrides.set_param(set).unwrap();
        let resolved = file.resolve(&overrides, Path::new("/jobs"));
        resolved.map_or_else(|error| error.to_string(), |_| "no error".to_owned())
    };
    assert_eq!(message("samples=0"), "param samples: 0 is under its min of 1");
    assert_eq!(message("samples=1"), "no error");
    assert_eq!(message("frames=3,240-251"), "param frames: 251 is over its max of 250");
    assert_eq!(message("frames=7,0"), "param frames: 0 is under its min of 1");
    assert_eq!(message("frames=250"), "no error");
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let verify = "  verify: { sample: 2%, by: second-node }\n";
    let with = |text: &str| message_of(&text.replacen("  over: frames\n", &format!("  over: frames\n{verify}"), 1));
    assert_eq!(with(FULL), "no error");
    assert_eq!(
        with(&FULL.replacen("  collect: /out/*.png\n", "", 1)),
        "line 17, column 11: array.verify: nothing comes back that could be compared; write array.collect too"
    );
    let alone = "line 17, column 11: array.verify: another node does again what one did, so at least 2 nodes are needed, and 3 to tell which is right";
    assert_eq!(with(&FULL.replacen("nodes: 3", "nodes: 1", 1)), alone);
    assert_eq!(with(&format!("{FULL}placement: {{ enough: 1 }}\n")), alone);
    let wrong = FULL.replacen(
        "  over: frames\n",
        "  over: frames\n  verify: { sample: 2, by: second-node }\n",
        1,
    );
    assert!(
        message_of(&wrong).contains("reading a sample from \"2\""),
        "{}",
        message_of(&wrong)
    );
}
