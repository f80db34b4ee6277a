# `make demo` and `make test` are all that a stranger needs: both install what is missing and say so.

SHELL := /bin/bash
.DELETE_ON_ERROR:

# What is built stays outside of the clone, so that a fresh clone starts warm.
GPUX_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gpux
export GPUX_CACHE
export CARGO_TARGET_DIR ?= $(GPUX_CACHE)/target
export PATH := $(HOME)/.cargo/bin:$(PATH)

GPUX := $(CARGO_TARGET_DIR)/debug/gpux
export GPUX

.PHONY: demo nat swarm test sim gossip bench proofs mutants planted deps test-deps build image lint contracts unit e2e clean

demo: build image  ## three nodes render an animation, paid from escrow; ends with 0 only if the verifier does
	demo/run --gpux $(GPUX) $(if $(BATCH),--batch)

test: deps lint contracts unit e2e  ## everything that CI runs

test-deps:
	@scripts/install-deps --tests

deps:
	@scripts/install-deps
	@contracts/tools/install

build: deps
	cargo build --package gpux

image: deps  ## the Blender image, built once
	apps/render/build-image

lint: deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask layers
	cargo xtask tidy

# Builds, tests, and compares every committed file that is made from others (ABI, gas, vectors) with what is made now.
contracts: deps
	contracts/tools/test

# Also builds the program that the whole-system tests and the demo run.
unit: deps test-deps
	scripts/run-tests

e2e: deps image unit
	apps/render/test
	scripts/run-e2e

# Without nextest, which would end a long run.
# The part that is named, or all three.
sim: ALL := $(if $(SCENARIOS)$(SEEDS)$(WORLDS),,yes)
sim: deps  ## more and larger simulated worlds than CI's: make sim SEEDS=100000 WORLDS=5000 NODES=50; one again: SEEDS=7..8
	$(if $(or $(ALL),$(SCENARIOS)),GPUX_SIM_SCENARIOS=$(or $(SCENARIOS),100000) \
	    cargo test --package gpux-lease --lib -- --nocapture simulation::tests::no_scenario)
	$(if $(or $(ALL),$(SEEDS)),GPUX_SIM_SEEDS=$(or $(SEEDS),10000) GPUX_SIM_NODES=$(or $(NODES),5) \
	    cargo test --package gpux-lease --lib -- --nocapture simulation::seeds::no_seed)
	$(if $(or $(ALL),$(WORLDS)),GPUX_WORLD_SEEDS=$(or $(WORLDS),1000) GPUX_WORLD_NODES=$(or $(NODES),5) \
	    cargo test --package gpux-world --test it -- --nocapture no_seed)

gossip: deps  ## the gossip of offers of many simulated nodes, what it costs and how fast it is: make gossip NODES=10000 SELLERS=1000
	GPUX_GOSSIP_NODES=$(or $(NODES),1000) GPUX_GOSSIP_SELLERS=$(SELLERS) GPUX_GOSSIP_FLOOD=$(FLOOD) \
		cargo test --package gpux-net --lib -- --nocapture --test-threads 1 offers::sim

mutants: deps  ## plants small bugs in the escrow and the collector one by one and counts those that no test notices; half an hour
	contracts/tools/mutation

planted: deps  ## every planted bug, of agents and contract, and what caught it; fails if one is missed
	scripts/planted

nat: deps  ## nodes behind every kind of router: who reaches whom, and how
	cargo nextest run --workspace --no-capture -E 'package(gpux-e2e) and test(nat::)'

swarm: deps  ## nodes of one job bring a blob together: what its sender sends: make swarm NODES=20 MIB=1024
	GPUX_SWARM_NODES=$(or $(NODES),20) GPUX_SWARM_MIB=$(or $(MIB),64) \
	    cargo nextest run --workspace --no-capture -E 'package(gpux-net) and test(swarm::twenty)'

bench: deps  ## figures against peers, re-run in one go, of the release build
	cargo build --release --package gpux
	bench/run --gpux $(CARGO_TARGET_DIR)/release/gpux

proofs: deps  ## every proof: what is proven, by which tool, in how long; not part of `make test`
	contracts/tools/proofs

clean:
	cargo clean
	rm -rf contracts/out contracts/cache target
