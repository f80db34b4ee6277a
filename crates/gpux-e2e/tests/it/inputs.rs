//! Inputs: a folder of the renter's, as the containers of a provider see it.

use super::{job, market::Market};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

#[test]
fn a_folder_of_the_renter_is_seen_by_a_task_as_it_is_and_cannot_be_written() {
    let market = Market::start(1);
    let input = market.path().join("tools");
    fs::create_dir_all(input.join("many/deep")).unwrap();
    fs::write(
        input.join("run.sh"),
        "#!/bin/sh\ncat /in/tools/many/deep/[0-9]* | wc -c\n",
    )
    .unwrap();
    fs::set_permissions(input.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../run.sh", input.join("many/link")).unwrap();
    for number in 0..600_u32 {
        fs::write(
            input.join(format!("many/deep/{number}")),
            number.to_le_bytes().repeat(500),
        )
        .unwrap();
    }
    fs::write(input.join("large"), vec![7; 2 << 20]).unwrap();
    let script = "/in/tools/many/link > /out/small.txt; wc -c < /in/tools/large > /out/large.txt; \
                  ! touch /in/tools/new; ! rm -f /in/tools/large";
    let file = format!(
        r#"gpux: 1
kind: task
name: folder
image: oci:image:e2e
resources: {{ cpu: 0.5, memory: 256MiB, disk: 64MiB }}
inputs: {{ tools: {{ path: tools, to: /in/tools }} }}
task: {{ collect: /out/*.txt }}
run: ["{}", "-euc", "{script}"]
budget: {{ max_duration: 10m }}
"#,
        job::SHELL
    );
    let (path, output) = (market.path().join("folder.yaml"), market.path().join("folder-out"));
    fs::write(&path, file).unwrap();
    let run = || {
        let (path, output) = (path.to_str().unwrap(), output.to_str().unwrap());
        market.run(&["run", path, "-y", "--output", output])
    };
    let ended = run();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let out = |name: &str| fs::read_to_string(output.join(name)).unwrap().trim().to_owned();
    assert_eq!(
        (out("small.txt"), out("large.txt")),
        ("1200000".into(), "2097152".into())
    );

    symlink("/etc/passwd", input.join("many/out")).unwrap();
    let refused = run();
    assert_ne!(refused.status.code(), Some(0));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("many/out") && said.contains("leads out of the folder"),
        "{said}"
    );
}
