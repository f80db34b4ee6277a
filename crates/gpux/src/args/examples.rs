//! What the help of each verb shows at its end: lines that can be typed as they are. A test runs through all verbs.

pub(super) const ALL: &str = "\
Examples:
  gpux devnet up --providers 3           a whole market on this machine
  gpux offers                            who offers what, for how much
  gpux plan apps/render/gpux.yaml        what would run where, for how much at most
  gpux run apps/render/gpux.yaml         plan, ask, deposit, run, collect, settle
  gpux topup blue-otter-3 0.5            half a DAI more for each of its leases
  gpux cost blue-otter-3                 every coin and every transaction of it

Exit status: 0 done, 1 other errors, 2 bad usage or input, 3 no match, 4 not enough money, 5 not authorised,
6 not found, 7 timed out, 8 out of reach, 9 the job failed, 10 a provider failed, 130 interrupted.
Of a followed `gpux run`: its job's own, and 125 for everything else that goes wrong.";

pub(super) const DAEMON: &str = "\
Examples:
  gpux daemon --dir /var/lib/gpux        run a node with this folder's config.toml
  gpux daemon -v                         with more in its log, which goes to standard error
  GPUX_LOG=gpux_net=debug gpux daemon    with more of the network only";

pub(super) const DEVNET: &str = "\
Examples:
  gpux devnet up --providers 3           start a chain, three providers and a renter
  gpux devnet status                     show their processes
  gpux devnet down                       stop them";

pub(super) const DEVNET_UP: &str = "\
Examples:
  gpux devnet up --providers 3           blocks every two seconds, deposits in test DAI
  gpux devnet up --block-time 0s         a block for each transaction
  gpux devnet up --token usdc            deposits in test USDC";

pub(super) const DEVNET_DOWN: &str = "\
Examples:
  gpux devnet down                       stop every process, keep the folder
  gpux devnet down --purge               and remove the folder";

pub(super) const DEVNET_STATUS: &str = "\
Examples:
  gpux devnet status
  gpux devnet status --json | jq -r .rpc_url";

pub(super) const OFFERS: &str = "\
Examples:
  gpux offers                            from the cheapest to the dearest
  gpux offers --json | jq '.offers | length'";

pub(super) const PLAN: &str = "\
Examples:
  gpux plan apps/render/gpux.yaml
  gpux plan render.yaml --set frames=1-24 --input scene=shot-03.blend --nodes 2
  gpux plan render.yaml --why            and why each other offer was rejected";

pub(super) const RUN: &str = "\
Examples:
  gpux run apps/render/gpux.yaml         shows the plan and asks once
  gpux run render.yaml -y --max-total 5  asks nothing, spends 5 at most
  gpux run render.yaml -y -d             does not follow the job
  gpux run hello.yaml -y --logs          prints what its processes write
  gpux run render.yaml -y --json         prints an event a line for programs: docs/spec/run-events.md

Ctrl-C detaches and leaves the job alone. The exit status is that of the first part that failed, or of the last step;
125 when anything else went wrong; with -d as of every other command.";

pub(super) const PS: &str = "\
Examples:
  gpux ps                                jobs that go on
  gpux ps -a                             and those that are over
  gpux ps -a --json | jq -r '.jobs[].name'";

pub(super) const LOGS: &str = "\
Examples:
  gpux logs first-light                  what every part wrote
  gpux logs -f first-light               and what they go on to write
  gpux logs first-light --part 3 --tail 20";

pub(super) const WAIT: &str = "\
Examples:
  gpux wait first-light && ls first-light
  gpux wait first-light --timeout 10m    exit status 7 when it still goes on";

pub(super) const TOPUP: &str = "\
Examples:
  gpux topup first-light 0.5             half a DAI more for each of its leases, and the time that it pays for
  gpux topup first-light 0.5 --keep-expiry -y";

pub(super) const AWAY: &str = "\
Examples:
  gpux away first-light 2h               signs for two hours ahead, after asking; then this machine may sleep
  gpux away first-light 20m -y
  gpux away first-light 0                back before that: nothing more is signed ahead

What is signed ahead is at risk: a provider could take it without working. Work that ends early is not paid for beyond its end.";

pub(super) const STOP: &str = "\
Examples:
  gpux stop first-light                  stop the work, settle each lease, get the rest back
  gpux stop first-light --reason wrong-scene";

pub(super) const COST: &str = "\
Examples:
  gpux cost first-light
  gpux cost first-light --json | jq -r '.leases[].transactions[].hash'";

pub(super) const RECEIPTS: &str = "\
Examples:
  gpux receipts                          how every lease ended, the newest first
  gpux receipts first-light              those of one job
  gpux receipts --csv > leases.csv       for spreadsheets: docs/spec/receipts.md
  gpux receipts --json | jq '.receipts[] | select(.standing != \"agreed\")'";

pub(super) const WALLET: &str = "\
Examples:
  gpux wallet new --password-file password
  gpux wallet address
  gpux wallet balance";

pub(super) const WALLET_NEW: &str = "\
Examples:
  gpux wallet new                        asks for a password twice
  gpux wallet new --password-file password
  gpux wallet new --dir /var/lib/gpux --password-file /etc/gpux/password";

pub(super) const WALLET_ADDRESS: &str = "\
Examples:
  gpux wallet address
  gpux wallet address --json | jq -r .address";

pub(super) const WALLET_BALANCE: &str = "\
Examples:
  gpux wallet balance
  gpux wallet balance --json | jq -r .balance";

pub(super) const CONTRACTS: &str = "\
Examples:
  gpux contracts verify
  gpux contracts verify --chain optimism-sepolia
  gpux contracts deploy --chain optimism-sepolia";

pub(super) const CONTRACTS_DEPLOY: &str = "\
Examples:
  gpux contracts deploy                  on the chain of config.toml, after asking
  gpux contracts deploy --chain optimism-sepolia -y
  gpux contracts deploy --chain 31337 --rpc-url http://127.0.0.1:8545

It has the same address on every chain, and who is cut off runs it again: nothing is paid for twice.";

pub(super) const CONTRACTS_VERIFY: &str = "\
Examples:
  gpux contracts verify                  exit status 8 when one is missing or another than this version's
  gpux contracts verify --chain optimism --json | jq '.contracts[] | select(.state != \"verified\")'";

pub(super) const DOCTOR: &str = "\
Examples:
  gpux doctor                            exit status 1 when something is not well
  gpux doctor --json | jq '.checks[] | select(.ok | not)'";

pub(super) const COMPLETION: &str = "\
Examples:
  gpux completion bash > ~/.local/share/bash-completion/completions/gpux
  gpux completion zsh > ~/.zfunc/_gpux
  gpux completion fish > ~/.config/fish/completions/gpux.fish";
