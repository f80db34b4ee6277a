//! `gpux doctor`.

use crate::{args::Global, failure::Failure, out, show};
use gpux_api::DoctorView;

pub(super) async fn run(global: &Global) -> Result<u8, Failure> {
    let doctor: DoctorView = super::connect(global).await?.get("/doctor").await?;
    out::print(global, &doctor, show::doctor)?;
    Ok(u8::from(doctor.checks.iter().any(|check| !check.ok)))
}
