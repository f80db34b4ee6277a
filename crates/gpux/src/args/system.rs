//! This machine and its shell.

pub(super) const DOCTOR: &str = "\
Examples:
  gpux doctor                            exit status 1 when something is not well
  gpux doctor --json | jq '.checks[] | select(.ok | not)'";

pub(super) const COMPLETION: &str = "\
Examples:
  gpux completion bash > ~/.local/share/bash-completion/completions/gpux
  gpux completion zsh > ~/.zfunc/_gpux
  gpux completion fish > ~/.config/fish/completions/gpux.fish";
