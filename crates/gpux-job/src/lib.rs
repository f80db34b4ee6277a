//! The job file: read, check, explain, split into parts.
//!
//! `JobFile` is what a person wrote, `Job` is what it means, `Part` is what one container of it does.
//! Pure: paths are values that nobody opens here, and every text is taken for hostile.
#![forbid(unsafe_code)]

mod bounds;
mod builder;
mod collect;
mod command;
mod compose;
mod error;
mod explain;
mod file;
mod gpu;
mod image;
mod job;
mod limits;
mod money;
mod names;
mod oneline;
mod overrides;
mod param;
mod path;
mod placement;
mod range;
mod resolve;
mod schema;
mod text;
mod verify;
mod yaml_error;

pub use bounds::ParamBoundError;
pub use collect::{Collect, OUT, ParseCollectError, path_matches};
pub use command::Command;
pub use error::{Advice, JobFileError, JobFileProblem, Place, ResolveError, ResolveProblem};
pub use file::{JobFile, MAX_FILE_BYTES};
pub use gpu::{GpuNeed, ParseGpuError};
pub use image::{ImageSource, ParseImageError};
pub use job::{Array, AtZero, Budget, Builder, Input, Job, Part, Retry, RetryOn, Task, Work};
pub use limits::LimitError;
pub use money::{Money, MoneyInTokenError, ParseMoneyError, Price};
pub use names::{EnvName, JobName, Label, ParseNameError};
pub use oneline::{OneLine, OneLineError, drawn_name};
pub use overrides::{OverrideError, Overrides};
pub use param::ParamValueError;
pub use path::{ContainerPath, ParsePathError};
pub use placement::{Placement, Together};
pub use range::{ParseRangeError, PartRange, Run};
pub use schema::job_schema;
pub use verify::{ParseSampleError, Sample, Verify, VerifyBy};
