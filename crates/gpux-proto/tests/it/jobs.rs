//! The hash of a job stands in the quote: whatever of the job is changed later changes it.

use crate::samples::{self, Changes, Draw};
use gpux_proto::{InputSpec, JobSpec, MAX_JOB_BYTES, encode};
use gpux_types::{BlobHash, ByteSize, JobId, MAX_ARGUMENTS, MAX_INPUTS, MAX_LAYERS, MAX_VARIABLES, Millis};

const CHANGES: &Changes<JobSpec> = &[
    ("the id", |job| job.job = JobId([0xee; 16])),
    ("the name", |job| job.name.push('x')),
    ("the manifest", |job| job.image.manifest_digest[0] ^= 1),
    ("the configuration", |job| job.image.config.hash = BlobHash([0xee; 32])),
    ("the configuration's size", |job| job.image.config.size.0 += 1),
    ("a layer's blob", |job| {
        job.image.layers[0].blob.hash = BlobHash([0xee; 32])
    }),
    ("a layer's digest", |job| job.image.layers[0].digest[31] ^= 1),
    ("a layer's content", |job| job.image.layers[0].diff_id[31] ^= 1),
    ("a layer's media type", |job| job.image.layers[0].media_type.push('x')),
    ("one layer fewer", |job| job.image.layers.clear()),
    ("an input's place", |job| job.inputs[0].to.push('x')),
    ("an input's blob", |job| job.inputs[0].blob.size = ByteSize(1)),
    ("a folder's bytes", |job| {
        job.inputs[0].folder.as_mut().unwrap().content.0 += 1
    }),
    ("a folder's entries", |job| {
        job.inputs[0].folder.as_mut().unwrap().entries += 1
    }),
    ("a file in a folder's place", |job| job.inputs[0].folder = None),
    ("one input more", |job| job.inputs.push(job.inputs[0].clone())),
    ("an argument", |job| job.command.argv[0].push('x')),
    ("an argument that moves to another", |job| {
        job.command.argv = vec!["a".into(), " b".into()];
    }),
    ("a variable's value", |job| job.command.environment[0].1.push('x')),
    ("a variable's name", |job| job.command.environment[0].0.push('x')),
    ("what is collected", |job| job.collect.push('x')),
    ("the limit", |job| job.part_limit = Some(Millis(1))),
    ("no limit", |job| job.part_limit = None),
];

#[test]
fn the_hash_changes_with_each_field() {
    let job = samples::job(&Draw::fixed());
    let mut seen = vec![job.hash()];
    for (what, change) in CHANGES {
        let mut other = job.clone();
        change(&mut other);
        assert!(!seen.contains(&other.hash()), "{what}");
        seen.push(other.hash());
    }
    assert_eq!(samples::job(&Draw::fixed()).hash(), job.hash());
}

#[test]
fn preparation_counts_every_blob_and_never_overflows() {
    let mut job = samples::job(&Draw::fixed());
    assert_eq!(job.blobs().count(), 3);
    assert_eq!(
        job.preparation_bytes(),
        ByteSize(1_200),
        "what the folder holds is counted"
    );
    job.inputs[0].folder = None;
    assert_eq!(job.preparation_bytes(), ByteSize(900));
    job.inputs[0].blob.size = ByteSize(u64::MAX);
    assert_eq!(job.preparation_bytes(), ByteSize(u64::MAX));
}

#[test]
fn lists_and_texts_over_their_limits_are_told() {
    let job = samples::job(&Draw::fixed());
    assert!(job.within_limits());
    let over: &Changes<JobSpec> = &[
        ("layers", |job| {
            job.image.layers = vec![job.image.layers[0].clone(); MAX_LAYERS + 1]
        }),
        ("inputs", |job| {
            let input: InputSpec = job.inputs[0].clone();
            job.inputs = vec![input; MAX_INPUTS + 1];
        }),
        ("the name", |job| job.name = "x".repeat(65)),
        ("arguments", |job| {
            job.command.argv = vec![String::new(); MAX_ARGUMENTS + 1]
        }),
        ("variables", |job| {
            job.command.environment = vec![(String::new(), String::new()); MAX_VARIABLES + 1]
        }),
    ];
    for (what, change) in over {
        let mut other = job.clone();
        change(&mut other);
        assert!(!other.within_limits(), "{what}");
    }
    let mut largest = job.clone();
    largest.collect = "x".repeat(MAX_JOB_BYTES - encode(&job).len() + job.collect.len() - 2);
    assert_eq!((encode(&largest).len(), largest.within_limits()), (MAX_JOB_BYTES, true));
    largest.collect.push('x');
    assert!(!largest.within_limits(), "all of it");
}
