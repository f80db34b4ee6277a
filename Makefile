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

.PHONY: demo test bench build deps lint unit contracts e2e generated image clean

demo: build image  ## three nodes render an animation, paid from escrow; ends with 0 only if the verifier does
	demo/run --gpux $(GPUX)

test: deps lint generated contracts unit e2e  ## everything that CI runs

build: deps contracts/node_modules/.package-lock.json
	cargo build --package gpux

image: deps  ## the Blender image, built once
	apps/render/build-image

deps:
	@scripts/install-deps

contracts/node_modules/.package-lock.json: contracts/package-lock.json
	npm ci --prefix contracts --no-progress

lint: contracts/node_modules/.package-lock.json
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask layers
	cargo xtask tidy

# Files that are made from others are committed; a difference is an error.
generated: contracts/node_modules/.package-lock.json
	contracts/tools/abi --check

contracts: contracts/node_modules/.package-lock.json
	contracts/tools/test

unit:
	scripts/run-tests

e2e: build image
	scripts/run-e2e

bench: deps  ## figures against peers, re-run in one go; writes bench/RESULTS.md
	bench/run

clean:
	cargo clean
	rm -rf contracts/out contracts/cache target
