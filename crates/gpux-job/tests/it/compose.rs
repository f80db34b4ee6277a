//! Compose files: what they mean as jobs, and what is refused because it would mean something else.

use gpux_job::{Command, Job, JobFile, Overrides, RetryOn, Work};
use gpux_types::{ByteSize, Cpu};
use std::path::Path;

/// A service with all that this version understands.
pub(crate) const COMPOSE: &str = r#"name: bench
services:
  app_1:
    image: ghcr.io/org/app:1.4
    build: .
    container_name: app
    command: run --fast "two words" $$HOME
    environment:
      LEVEL: 3.10
      EMPTY: ""
    volumes:
      - ./data/set-1:/in/data:ro
      - { type: bind, source: ./model, target: /in/more/data, read_only: true }
      - ./results:/out
    deploy:
      resources:
        limits: { cpus: "2.5", memory: 512m }
        reservations:
          memory: 256M
          devices: [{ driver: nvidia, count: 2, capabilities: [gpu] }]
    healthcheck: { test: ["CMD", "true"] }
    restart: on-failure:5
x-gpux:
  nodes: 3
  task: { collect: /out/*.json }
  budget: { max_price: 0.50/hour, max_duration: 2h }
"#;

fn job(text: &str) -> Job {
    let file = JobFile::parse(text).unwrap();
    file.resolve(&Overrides::default(), Path::new("/jobs")).unwrap()
}

fn message_of(text: &str) -> String {
    match JobFile::parse(text) {
        Err(error) => error.to_string(),
        Ok(file) => match file.resolve(&Overrides::default(), Path::new("/jobs")) {
            Err(error) => error.to_string(),
            Ok(_) => "no error".to_owned(),
        },
    }
}

#[test]
fn a_service_is_the_job_that_compose_would_run() {
    let job = job(COMPOSE);
    assert_eq!((job.name.to_string().as_str(), job.nodes.get()), ("bench", 3));
    assert_eq!(job.image.to_string(), "ghcr.io/org/app:1.4");
    let words = ["run", "--fast", "two words", "$HOME"].map(str::to_owned).to_vec();
    assert_eq!(job.run, Command::Image(words));
    let variables: Vec<_> = job
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(variables, ["EMPTY=", "LEVEL=3.10"], "values stay as they are spelled");
    let inputs: Vec<_> = job
        .inputs
        .iter()
        .map(|input| {
            (
                input.name.to_string(),
                input.path.display().to_string(),
                input.to.to_string(),
            )
        })
        .collect();
    let input = |name: &str, path: &str, to: &str| (name.to_owned(), path.to_owned(), to.to_owned());
    assert_eq!(
        inputs,
        [
            input("data", "/jobs/./data/set-1", "/in/data"),
            input("data_2", "/jobs/./model", "/in/more/data")
        ]
    );
    assert_eq!(job.output.unwrap(), Path::new("/jobs/./results"));
    assert_eq!(job.resources.cpu, Cpu { millicores: 2_500 });
    assert_eq!(
        job.resources.memory,
        ByteSize(512 << 20),
        "compose counts in powers of two"
    );
    assert_eq!(job.gpu.unwrap().count.get(), 2);
    assert_eq!((job.retry.max, job.retry.on.contains(&RetryOn::Error)), (5, true));
    assert!(
        matches!(job.work, Work::Task(_)),
        "a service is a task where nothing else is said"
    );
}

#[test]
fn the_image_says_what_the_service_does_not() {
    let plain = "services: { app: { image: app:1 } }\nx-gpux: { budget: { max_duration: 1h } }\n";
    assert_eq!(job(plain).run, Command::Image(Vec::new()));
    assert_eq!(job(plain).name.to_string(), "app");
    let own = |text: &str| job(&plain.replace("app:1", &format!("app:1, {text}"))).run;
    let argv = |words: &[&str]| Command::Argv(words.iter().map(|&word| word.to_owned()).collect());
    assert_eq!(own("entrypoint: /init, command: [a, b]"), argv(&["/init", "a", "b"]));
    assert_eq!(
        own("entrypoint: [], command: sh -c 'true; false'"),
        argv(&["sh", "-c", "true; false"])
    );
    assert_eq!(own("command: true"), Command::Image(vec!["true".to_owned()]));

    let entrypoint = ["/entry".to_owned()];
    let words = |command: Command| command.argv(&entrypoint);
    assert_eq!(words(Command::Image(vec!["a".to_owned()])), ["/entry", "a"]);
    assert!(
        words(Command::Image(Vec::new())).is_empty(),
        "its entrypoint and its own arguments"
    );
    assert_eq!(
        words(argv(&["a"])),
        ["a"],
        "an entrypoint of the file takes the place of the image's"
    );
}

#[test]
fn what_the_market_is_asked_for_goes_before_what_the_service_says() {
    let text = COMPOSE.replace(
        "  nodes: 3\n",
        "  nodes: 3\n  resources: { disk: 9GiB }\n  retry: { max: 1 }\n  output: there\n",
    );
    let text = text.replace("      - ./results:/out\n", "");
    let job = job(&text);
    assert_eq!(
        (job.resources.disk, job.resources.memory),
        (ByteSize(9 << 30), ByteSize(1 << 30))
    );
    assert!(job.gpu.is_none(), "resources are said in one place");
    assert_eq!(
        (job.retry.max, job.output.unwrap().as_path()),
        (1, Path::new("/jobs/there"))
    );
}

/// `COMPOSE` with one text in the place of another, and what is said of it.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "    build: .\n",
        "    ports: [\"80:80\"]\n",
        r#"line 5, column 5: unknown key "ports": this version has no open ports"#,
    ),
    (
        "    build: .\n",
        "    imagee: x\n",
        r#"line 5, column 5: unknown key "imagee", did you mean "image"?"#,
    ),
    ("    image: ghcr.io/org/app:1.4\n", "", "the key image is missing"),
    (
        "ghcr.io/org/app:1.4",
        "app:$TAG",
        r#"line 4, column 12: "app:$TAG" names a variable: this machine's are not read; write its value, and $$ for a dollar sign"#,
    ),
    (
        "$$HOME",
        "${HOME}",
        r#"line 7, column 14: "run --fast \"two words\" ${HOME}" names a variable: this machine's are not read; write its value, and $$ for a dollar sign"#,
    ),
    (
        "\"two words\"",
        "\"two words",
        r#"line 7, column 14: "run --fast \"two words $HOME" has a quote without its other half"#,
    ),
    ("EMPTY: \"\"", "EMPTY:", "line 10, column 12: nothing stands here"),
    (
        "EMPTY: \"\"",
        "GPUX_X: 1",
        r#"line 9, column 7: reading a variable's name from "GPUX_X": names that begin with GPUX_ are set by GPUX"#,
    ),
    (
        "./data/set-1:/in/data:ro",
        "data:/in/data:ro",
        r#"line 12, column 9: volumes: "data" is not a path of this machine: nothing outlives a job but what it hands back; write ./data for a folder beside this file"#,
    ),
    (
        "/in/data:ro",
        "/in/data",
        r#"line 12, column 9: volumes: "/in/data" is written to: add :ro for what is only read; results are written to /out, and x-gpux says which come back"#,
    ),
    (
        "/in/data:ro",
        "/in/data:ro,rslave",
        r#"line 12, column 9: volumes: unknown option "rslave"; there are ro and rw"#,
    ),
    ("./model", "./more:/out", "no error"),
    (
        "type: bind",
        "type: volume",
        r#"line 13, column 9: volumes: type "volume" outlives its container; there is bind"#,
    ),
    (
        "  nodes: 3\n",
        "  nodes: 3\n  output: there\n",
        "line 14, column 9: results go to one folder: a second one is mounted, or x-gpux.output names it",
    ),
    (
        "count: 2",
        "count: all",
        r#"line 20, column 20: count "all": write how many GPUs each node must give"#,
    ),
    (
        "512m",
        "512MiB",
        r#"line 17, column 40: "512MiB" is no size: write bytes, or 512m and 4g, in which a kilobyte is 1,024 bytes"#,
    ),
    (
        "on-failure:5",
        "always",
        r#"line 22, column 14: restart "always": a job that ended well has ended; there are "no", on-failure and on-failure:3"#,
    ),
    (
        "  app_1:\n",
        "  db: { image: postgres }\n  app_1:\n",
        "services: a job is one service, and there are app_1 and db",
    ),
    (
        "name: bench",
        "name: Bench",
        r#"reading a job's name from "Bench": expected at most 63 lower-case letters, digits and inner hyphens, such as shot-03"#,
    ),
    (
        "  nodes: 3\n",
        "  kind: service\n",
        "line 24, column 9: kind service is not supported by this version: there are array and task",
    ),
    (
        "  nodes: 3\n",
        "  image: x\n",
        r#"line 24, column 3: unknown key "image"; there are gpux, kind, nodes, resources, network, placement, inputs, params, array, task, then, preflight, retry, budget, builder, output"#,
    ),
    (
        "{ max_price: 0.50/hour, max_duration: 2h }",
        "{ max_price: 0.50/hour }",
        "budget.max_duration is missing: how long may each lease last, such as 2h",
    ),
];

#[test]
fn what_would_mean_something_else_here_is_refused_with_what_to_write() {
    let wrong = |(from, to, wanted): &(&str, &str, &str)| {
        assert!(COMPOSE.contains(from), "{from}");
        let message = message_of(&COMPOSE.replacen(from, to, 1));
        (message != *wanted).then(|| format!("{from} -> {to}\n  has    {message}\n  wanted {wanted}\n"))
    };
    let wrong: String = WRONG.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}
