//! This machine, its shell and its manual.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
    /// A script that also completes the names of jobs: it calls this program, which asks the daemon when one runs
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where the pages are written
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

pub(super) const DOCTOR: &str = "\
Examples:
  gpux doctor                            exit status 1 when something is not well
  gpux doctor --json | jq '.checks[] | select(.ok | not)'";

pub(super) const COMPLETION: &str = "\
Examples:
  gpux completion bash > ~/.local/share/bash-completion/completions/gpux
  gpux completion zsh > ~/.zfunc/_gpux
  gpux completion fish > ~/.config/fish/completions/gpux.fish
  gpux completion bash --live            for ~/.bashrc: source <(gpux completion bash --live)

A live script also completes the names of jobs. It belongs to the program that printed it: let the shell ask for it anew at each
start, as in the last example.";

pub(super) const MAN: &str = "\
Examples:
  gpux man ~/.local/share/man/man1       then: man gpux-run
  gpux man build/man --json | jq -r '.files[]'";
