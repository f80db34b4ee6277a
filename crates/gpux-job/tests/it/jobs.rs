//! What files mean.

use super::{FULL, SHORT, TASK};
use gpux_job::{
    Array, AtZero, Command, ImageSource, Job, JobFile, Overrides, Part, Placement, RetryOn, Run, Together, Work,
};
use gpux_types::{ByteSize, Cpu, JobId, Millis, PartIndex, Resources};
use std::{num::NonZeroU32, path::Path};

fn resolve(text: &str, overrides: &Overrides) -> Job {
    let file = JobFile::parse(text).unwrap_or_else(|error| panic!("{error}"));
    file.resolve(overrides, Path::new("/jobs"))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn array(job: &Job) -> &Array {
    match &job.work {
        Work::Array(array) => array,
        Work::Task(task) => panic!("{task:?}"),
    }
}

fn values(job: &Job) -> Vec<u32> {
    let value = |part| match part {
        Part::Piece { values, .. } if values.first == values.last => values.first,
        Part::Piece { values, .. } => panic!("{values}"),
        Part::Rank(rank) => panic!("{rank}"),
    };
    job.parts().into_iter().map(value).collect()
}

fn param<'a>(job: &'a Job, name: &str) -> &'a str {
    &job.params[&name.parse().unwrap()]
}

#[test]
fn every_key_reaches_the_job() {
    let job = resolve(FULL, &Overrides::default());
    assert_eq!(job.name.as_str(), "shot-03");
    assert_eq!(
        job.image,
        ImageSource::Layout {
            dir: "/jobs/build/image".into(),
            tag: Some("render".into())
        }
    );
    assert_eq!(job.nodes.get(), 3);
    let disk = ByteSize(2_000_000_000);
    assert_eq!(
        job.resources,
        Resources {
            cpu: Cpu { millicores: 1_500 },
            memory: ByteSize(2 << 30),
            disk,
        }
    );
    assert_eq!(job.inputs[0].path, Path::new("/jobs/scene.blend"));
    assert_eq!(job.inputs[0].to.as_str(), "/in/scene.blend");
    assert_eq!(array(&job).values.to_string(), "1-48");
    assert_eq!(job.work.collect().unwrap().dir(), "/out");
    assert_eq!(job.run, Command::Argv(vec!["render".into(), "--quiet".into()]));
    assert_eq!(job.then, Some(Command::Shell("film\n".into())));
    assert_eq!(
        job.preflight.unwrap().argv(&[]),
        ["bash", "-euo", "pipefail", "-c", "preflight"]
    );
    assert_eq!(
        job.retry.on.into_iter().collect::<Vec<_>>(),
        [RetryOn::ProviderFault, RetryOn::Error]
    );
    assert_eq!(job.retry.max, 2);
    assert_eq!(job.budget.max_price.unwrap().to_string(), "0.4 DAI/hour");
    assert_eq!(job.budget.max_total.unwrap().to_string(), "5 DAI");
    assert_eq!(job.budget.max_duration, Millis::from_secs(7_200));
    assert_eq!(job.builder.unwrap().share.points(), 250);
    assert_eq!(job.output.as_deref(), Some(Path::new("/jobs/results")));
}

#[test]
fn defaults_are_one_small_node_that_is_replaced_when_it_fails() {
    let job = resolve(SHORT, &Overrides::default());
    assert_eq!(job.nodes.get(), 1);
    let gib = ByteSize(1 << 30);
    assert_eq!(
        job.resources,
        Resources {
            cpu: Cpu::cores(1),
            memory: gib,
            disk: gib
        }
    );
    assert_eq!(job.retry.on.into_iter().collect::<Vec<_>>(), [RetryOn::ProviderFault]);
    assert_eq!(job.retry.max, 3);
    assert_eq!(
        (job.output, job.builder, job.then, job.preflight),
        (None, None, None, None)
    );
}

#[test]
fn values_keep_their_spelling() {
    let job = resolve(FULL, &Overrides::default());
    assert_eq!(job.environment[&"VERSION".parse().unwrap()], "3.10");
    assert_eq!(param(&job, "scale"), "1.50");
    let text = SHORT.replace(
        "1-3 }",
        "1-3, a: 007, b: 0x10, c: no, d: 12:30, e: 1_000, f: '5', g: 1.0e3 , h: True }",
    );
    let job = resolve(&text, &Overrides::default());
    let values: Vec<_> = "abcdefg"
        .chars()
        .map(|name| param(&job, &name.to_string()).to_owned())
        .collect();
    assert_eq!(values, ["007", "0x10", "no", "12:30", "1_000", "5", "1.0e3"]);
}

#[test]
fn what_was_typed_beats_the_file() {
    let mut overrides = Overrides {
        nodes: Some(2),
        max_duration: Some(Millis::from_secs(600)),
        ..Default::default()
    };
    overrides.output = Some("/tmp/frames".into());
    overrides
        .set_input("scene=other.blend", Path::new("/home/ada"))
        .unwrap();
    overrides.set_param("frames=20-22,7").unwrap();
    let job = resolve(FULL, &overrides);
    assert_eq!(job.inputs[0].path, Path::new("/home/ada/other.blend"));
    assert_eq!(values(&job), [20, 21, 22, 7]);
    assert_eq!(job.nodes.get(), 2);
    assert_eq!(job.budget.max_duration, Millis::from_secs(600));
    assert_eq!(job.output.as_deref(), Some(Path::new("/tmp/frames")));
}

#[test]
fn parts_carry_their_place_and_their_value() {
    let mut overrides = Overrides::default();
    overrides.set_param("frames=7,3-4").unwrap();
    let job = resolve(FULL, &overrides);
    let parts = job.parts();
    let piece = |index, value| Part::Piece {
        index: PartIndex(index),
        values: Run {
            first: value,
            last: value,
        },
    };
    assert_eq!(parts, [piece(0, 7), piece(1, 3), piece(2, 4)]);
    let environment: Vec<_> = parts[1].environment().into_iter().collect();
    let wanted = [
        ("GPUX_ARRAY_INDEX", "1"),
        ("GPUX_ARRAY_VALUE", "3"),
        ("GPUX_FRAME_END", "3"),
        ("GPUX_FRAME_START", "3"),
    ];
    assert_eq!(
        environment,
        wanted.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_chunked_array_has_a_part_for_each_run_of_values() {
    let mut overrides = Overrides::default();
    overrides.set_param("frames=3,5-10").unwrap();
    let text = FULL.replace("  over: frames\n", "  over: frames\n  chunk: 4\n");
    let job = resolve(&text, &overrides);
    let told: Vec<String> = job
        .parts()
        .iter()
        .map(|part| {
            let environment = part.environment();
            let value = |name: &str| environment[name].clone();
            format!(
                "{} {} {} {}",
                value("GPUX_ARRAY_INDEX"),
                value("GPUX_ARRAY_VALUE"),
                value("GPUX_FRAME_START"),
                value("GPUX_FRAME_END")
            )
        })
        .collect();
    assert_eq!(told, ["0 3 3 3", "1 5-8 5 8", "2 9-10 9 10"]);
    assert_eq!(job.part_count(), 3);
    assert_eq!(job.environment(None)["GPUX_ARRAY_COUNT"], "3");
    let alone: Vec<Part> = (0..4).filter_map(|index| job.part(PartIndex(index))).collect();
    assert_eq!(alone, job.parts());
    let explained = job.explain();
    assert!(explained.starts_with("shot-03: 3 parts over 3 nodes\n"), "{explained}");
    assert!(
        explained.contains("on a node, for up to 4 in a row of frames 3,5-10"),
        "{explained}"
    );
}

#[test]
fn a_job_of_a_journal_before_there_were_chunks_has_a_part_for_each_value() {
    let job = resolve(FULL, &Overrides::default());
    let mut json = serde_json::to_value(&job).unwrap();
    assert_eq!(json["array"].as_object_mut().unwrap().remove("chunk"), Some(1.into()));
    assert_eq!(
        json["budget"].as_object_mut().unwrap().remove("at_zero"),
        Some("stop".into())
    );
    assert_eq!(serde_json::from_value::<Job>(json).unwrap(), job);
}

#[test]
fn an_array_may_have_a_sample_of_its_results_verified() {
    let text = FULL.replace(
        "  over: frames\n",
        "  over: frames\n  verify: { sample: 10%, by: second-node }\n",
    );
    let job = resolve(&text, &Overrides::default());
    assert_eq!(array(&job).verify.unwrap().sample.of_ten_thousand(), 1_000);
    let explained = job.explain();
    let told =
        "verify      10% of each node's results, drawn when all are in, run again on another: at most 7 parts more\n";
    assert!(explained.contains(told), "{explained}");
    let json = serde_json::to_string(&job).unwrap();
    assert_eq!(serde_json::from_str::<Job>(&json).unwrap(), job);
}

#[test]
fn a_job_that_tops_up_by_itself_says_so() {
    let text = FULL.replace("max_duration: 2h", "max_duration: 2h, at_zero: top-up");
    let job = resolve(&text, &Overrides::default());
    assert_eq!(job.budget.at_zero, AtZero::TopUp);
    let explained = job.explain();
    assert!(
        explained.contains("5 DAI in all, topped up by itself until then, 2h for each lease"),
        "{explained}"
    );
}

#[test]
fn containers_learn_of_the_job_by_their_environment() {
    let job = resolve(FULL, &Overrides::default());
    let environment = job.environment(Some(JobId([0xab; 16])));
    let lines: Vec<_> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        lines,
        [
            "GPUX_ARRAY_COUNT=48",
            "GPUX_GPUS_PER_NODE=0",
            "GPUX_JOB_ID=abababababababababababababababab",
            "GPUX_JOB_NAME=shot-03",
            "GPUX_NUM_GPUS=0",
            "GPUX_NUM_NODES=3",
            "GPUX_PARAM_FRAMES=1-48",
            "GPUX_PARAM_SAMPLES=64",
            "GPUX_PARAM_SCALE=1.50",
            "LOG_LEVEL=debug",
            "VERSION=3.10",
        ]
    );
    assert!(
        !job.environment(None).contains_key("GPUX_JOB_ID"),
        "a preflight runs before there is an id"
    );
}

#[test]
fn what_a_job_asks_of_its_nodes_is_read_and_told() {
    let text = FULL.replace("resources: {", "resources: { gpu: \"24GB..:2\",")
        + "network: { topology: prefer-same-site }\nplacement: { region: eu-west, features: [sgx, cap-docker], enough: 2 }\n";
    let job = resolve(&text, &Overrides::default());
    let gpu = job.gpu.clone().unwrap();
    assert_eq!(
        (gpu.count.get(), gpu.memory, gpu.model),
        (2, ByteSize(24_000_000_000), None)
    );
    assert_eq!(job.placement.together, Together::PreferSameSite);
    assert_eq!(job.placement.enough.map(NonZeroU32::get), Some(2));
    let told = job.explain();
    assert!(told.contains("2 GPUs with 22.3 GiB of memory each, at least"), "{told}");
    let placement =
        "in one site if that costs little more, in eu-west, able to do cap-docker, sgx, 2 of them are enough";
    assert!(told.contains(placement), "{told}");
    let plain = resolve(FULL, &Overrides::default());
    assert_eq!((plain.gpu, plain.placement), (None, Placement::default()));
}

#[test]
fn gpus_are_also_a_number_or_a_table() {
    let gpu = |written: &str| {
        let text = FULL.replace("resources: {", &format!("resources: {{ gpu: {written},"));
        resolve(&text, &Overrides::default()).gpu.unwrap()
    };
    assert_eq!(gpu("2"), "2".parse().unwrap());
    assert_eq!(gpu("H100:8"), gpu("{ model: h100, count: 8 }"));
    assert_eq!(gpu("24GB.."), gpu("{ memory: 24GB }"));
    for wrong in ["{ size: 2 }", "{ count: 0 }", "24GB..80GB", "[1]", "true", "-1", "null"] {
        let text = FULL.replace("resources: {", &format!("resources: {{ gpu: {wrong},"));
        assert!(JobFile::parse(&text).is_err(), "{wrong}");
    }
}

#[test]
fn fewer_nodes_are_enough_for_an_array_alone_and_never_more_than_all() {
    let refused = |text: String| {
        let file = JobFile::parse(&text).unwrap();
        let refused = file.resolve(&Overrides::default(), Path::new("/jobs"));
        refused.unwrap_err().problem.to_string()
    };
    for (enough, told) in [(0, "0 is outside 1 to the job's 3 nodes"), (4, "4 is outside")] {
        let told_so = refused(format!("{FULL}placement: {{ enough: {enough} }}\n"));
        assert!(told_so.contains(told), "{told_so}");
    }
    let told_so = refused(format!("{TASK}placement: {{ enough: 1 }}\n"));
    assert!(told_so.contains("a task needs all of its nodes"), "{told_so}");
}

#[test]
fn a_job_explains_itself() {
    let job = resolve(&FULL.replace("disk: 2GB", "disk: 500GiB"), &Overrides::default());
    assert_eq!(
        job.explain(),
        "\
shot-03: 48 parts over 3 nodes
  each node   1.5 CPU, 2GiB of memory, 500GiB of disk, at least
  image       oci:/jobs/build/image:render
  input       scene: /jobs/scene.blend as /in/scene.blend
  param       frames: \"1-48\"
  param       samples: \"64\"
  param       scale: \"1.50\"
  first       preflight, on this machine, before any money moves
  each part   render --quiet, on a node, for one of frames 1-48
  collect     /out/*.png
  then        film, on this machine, over what was collected
  retry       a part at most 2 times, after a fault of the provider or an error of the command
  limits      0.4 DAI/hour for each node, 5 DAI in all, 2h for each lease
  builder     0x52908400098527886E0F7030069857D2E4169EE7 earns 2.5%
"
    );
}

#[test]
fn a_job_survives_the_journal() {
    for text in [FULL, TASK] {
        let job = resolve(text, &Overrides::default());
        let json = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&json).unwrap(), job);
    }
}

#[test]
fn a_task_is_one_part_for_each_node_which_knows_its_rank() {
    let job = resolve(TASK, &Overrides::default());
    assert_eq!(job.parts(), [Part::Rank(PartIndex(0))]);
    let environment: Vec<_> = job.parts()[0].environment().into_iter().collect();
    assert_eq!(environment, [("GPUX_NODE_RANK".to_owned(), "0".to_owned())]);
    assert!(
        !job.environment(None).contains_key("GPUX_ARRAY_COUNT"),
        "it is no array"
    );
    assert_eq!(job.work.collect().unwrap().to_string(), "/out/**/*.json");
    assert!(!job.is_gang());
}

#[test]
fn a_task_explains_itself() {
    let job = resolve(TASK, &Overrides::default());
    assert_eq!(
        job.explain(),
        "\
bench: a task on 1 node
  each node   1 CPU, 1GiB of memory, 1GiB of disk, at least
  image       ghcr.io/org/app:1.2
  run         bench, once on each node
  collect     /out/**/*.json
  then        sum-up, on this machine, over what was collected
  retry       the task at most 1 times, after an error of the command
  limits      2h for each lease
"
    );
}

#[test]
fn a_section_of_the_other_kind_is_refused_and_an_array_needs_its_own() {
    let problem = |text: &str| {
        let file = JobFile::parse(text).unwrap_or_else(|error| panic!("{error}"));
        file.resolve(&Overrides::default(), Path::new("/jobs"))
            .unwrap_err()
            .to_string()
    };
    let without = SHORT.replace("array: { over: frames }\n", "");
    assert_eq!(problem(&without), "the key array is missing");
    let both = SHORT.replace("run: render", "task: { collect: /out/* }\nrun: render");
    assert_eq!(
        problem(&both),
        "line 8, column 7: the key task belongs to kind: task, and this is another"
    );
    assert_eq!(
        problem(&TASK.replace("/out/**", "/results/**")),
        "line 6, column 18: task.collect: /results/**/*.json can match nothing: only files below /out come back, as with /out/*.png"
    );
}

#[test]
fn the_render_app_is_a_job() {
    let job = resolve(include_str!("../../../../apps/render/gpux.yaml"), &Overrides::default());
    assert_eq!(job.parts().len(), 48);
    assert_eq!(job.nodes.get(), 3);
    assert!(job.preflight.is_some() && job.then.is_some());
}
