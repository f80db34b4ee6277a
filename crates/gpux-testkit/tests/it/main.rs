//! The double keeps the promises of every runtime.

use std::sync::Arc;

use gpux_testkit::runtime::{Ground, RuntimeDouble};

gpux_testkit::runtime_conformance!(ground);

async fn ground() -> Ground {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Ground {
        runtime: Arc::new(RuntimeDouble::new()),
        layers: vec!["/layer".into()],
        host: folder.path().to_owned(),
        keep: Box::new(folder),
    }
}
