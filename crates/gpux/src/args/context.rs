//! Which daemon commands talk to.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// List the daemons that have a name here
    #[command(after_help = LS)]
    Ls,
    /// Show which daemon commands talk to
    #[command(after_help = SHOW)]
    Show,
    /// Talk to another daemon from now on
    #[command(after_help = USE)]
    Use {
        /// Its name, as `gpux context ls` lists it
        name: String,
    },
    /// Give a daemon's folder a name
    #[command(after_help = CREATE)]
    Create {
        /// Lower-case letters, digits and inner hyphens
        name: String,
        /// The daemon's folder
        folder: PathBuf,
    },
    /// Forget a name; the folder and its daemon stay as they are
    #[command(after_help = RM)]
    Rm {
        /// The name
        name: String,
    },
}

pub(super) const CONTEXT: &str = "\
Examples:
  gpux context create work /srv/gpux     names a daemon's folder
  gpux context use work                  commands talk to it from now on
  gpux context use default               and to ~/.gpux again
  gpux context ls

--dir and GPUX_DIR go before the context.";

const LS: &str = "\
Examples:
  gpux context ls
  gpux context ls --json | jq -r '.contexts[] | select(.current) | .folder'";

const SHOW: &str = "\
Examples:
  gpux context show
  gpux context show --json | jq -r '.contexts[0].folder'";

const USE: &str = "\
Examples:
  gpux context use devnet                the market of `gpux devnet up`
  gpux context use default               the home folder: ~/.gpux";

const CREATE: &str = "\
Examples:
  gpux context create work /srv/gpux";

const RM: &str = "\
Examples:
  gpux context rm work";
