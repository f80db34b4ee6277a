//! Why a try of a part brought nothing: what its job's task saw, and how people are told.
//!
//! Kept with the newest try of each part, and shown by `details`. Whose fault it is follows from it, and from nothing else.

use super::pieces::Failed;
use gpux_api::{Actor, EndView};
use gpux_lease::PartFault;
use serde::{Deserialize, Serialize};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trouble {
    /// Its program ended so.
    Exited { code: i32, out_of_memory: bool },
    /// The image has no such program, or it cannot be executed.
    NoProgram,
    /// It ended well and wrote nothing that `collect` names.
    NothingCollected,
    /// The node took it and did not run it.
    NotRun,
    /// The node did not take it.
    Refused,
    /// The node handed back what no honest one can have.
    WrongOutputs,
    /// What the node said that it hands back could not be had from it.
    NotFetched,
    /// It was kept, and thrown away: the node's results are not those of others.
    Outvoted,
    /// The node was not heard for too long, or its lease ended.
    NodeLost,
}

/// What shells answer when a program cannot be executed.
const CANNOT_EXECUTE: i32 = 126;

impl Trouble {
    /// The exit code that stands for it, where the program is to blame and has one.
    pub(super) const fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited { code, .. } => Some(code),
            Self::NoProgram => Some(CANNOT_EXECUTE),
            Self::NothingCollected
            | Self::NotRun
            | Self::Refused
            | Self::WrongOutputs
            | Self::NotFetched
            | Self::Outvoted
            | Self::NodeLost => None,
        }
    }

    /// How the machine of the pieces takes it.
    pub(super) const fn failed(self) -> Failed {
        let fault = match self {
            Self::Exited { .. } | Self::NoProgram | Self::NothingCollected => PartFault::Error,
            Self::NotRun | Self::Refused | Self::WrongOutputs | Self::NotFetched | Self::Outvoted | Self::NodeLost => {
                PartFault::Provider
            }
        };
        Failed {
            fault,
            exit_code: self.exit_code(),
        }
    }

    /// For people.
    pub(super) fn view(self) -> EndView {
        let reason = match self {
            Self::Exited {
                code,
                out_of_memory: false,
            } => format!("exited with {code}"),
            Self::Exited {
                code,
                out_of_memory: true,
            } => format!("exited with {code}: it used more memory than its lease holds"),
            Self::NoProgram => "the image has no such program, or it cannot be executed".to_owned(),
            Self::NothingCollected => "ended well and wrote nothing that `collect` names".to_owned(),
            Self::NotRun => "the node could not start it, or lost it".to_owned(),
            Self::Refused => "the node did not take it".to_owned(),
            Self::WrongOutputs => "the node handed back files that cannot be its results".to_owned(),
            Self::NotFetched => "its results could not be had from the node".to_owned(),
            Self::Outvoted => "the node made other results than two others".to_owned(),
            Self::NodeLost => "the node was not heard any more, or its lease ended".to_owned(),
        };
        let actor = match (self, self.failed().fault) {
            (Self::NodeLost, _) => Actor::Network,
            (_, PartFault::Error) => Actor::Renter,
            (_, PartFault::Provider) => Actor::Provider,
        };
        EndView {
            reason,
            actor,
            exit_code: self.exit_code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_the_jobs_own_and_a_node_that_fails_the_nodes() {
        let exited = Trouble::Exited {
            code: 137,
            out_of_memory: true,
        };
        assert_eq!(exited.failed().fault, PartFault::Error);
        let view = exited.view();
        assert_eq!((view.actor, view.exit_code), (Actor::Renter, Some(137)));
        assert_eq!(view.reason, "exited with 137: it used more memory than its lease holds");
        let of_node = [
            Trouble::NotRun,
            Trouble::Refused,
            Trouble::WrongOutputs,
            Trouble::NotFetched,
        ];
        for trouble in of_node {
            assert_eq!(trouble.failed().fault, PartFault::Provider, "{trouble:?}");
            assert_eq!(
                (trouble.view().actor, trouble.view().exit_code),
                (Actor::Provider, None)
            );
        }
        assert_eq!(Trouble::NoProgram.failed().exit_code, Some(126));
    }
}
