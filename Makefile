# Everything a person or a CI job does with this repository. `make` alone prints this list.
#
#   make run        install what is missing, build, run the demo: a command centre and a field node,
#                   in the desktop window where there is a display
#   make test       install what is missing, then every check and test (this is all that CI does)
#   make test-model  ask a real small model on this machine (fetches 1.2 GB once)
#   make test-openclaw  connect a node to a real OpenClaw on this machine (fetches 150 MB once)
#   make test-long  the long simulations, property tests, fresh machines (root, network), and the node for Windows (Wine) and arm64 as well
#   make mutants    change the rules one at a time and see whether their tests notice (hours; docs/mutants.md)
#   make check-foreign  check that the code compiles for Windows and macOS (part of make test)
#   make desktop    build the desktop application: target/debug/clawmesh
#   make console    build the browser console that the node carries
#   make sim        simulate worlds: SEEDS=1000 START=0, or SEED=1234 again; SIM_TRACE=1 tells all
#   make package    build the Debian package of both: target/release/bundle/deb/
#   make package-node  the headless node as .tar.gz, .deb and .rpm: target/packages
#   make release-check  a release of this machine's build, signed with a throw-away key, and installed from
#   make node       build the node for use: target/release/clawmesh-node
#   make bench      criterion benchmarks
#   make fmt        format the code
#   make clean      remove what was built

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test test-long test-model test-openclaw check-foreign mutants sim console desktop package package-node release-check node bench fmt clean

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@scripts/setup

run:
	@scripts/run

test:
	@scripts/test

test-long:
	@scripts/test --long

test-model:
	@scripts/test-model

test-openclaw:
	@scripts/test-openclaw

check-foreign:
	@scripts/foreign

mutants:
	@scripts/mutants

SEEDS ?= 100
sim: export SEEDS := $(SEEDS)
sim: export SEED := $(SEED)
sim: export START := $(START)
sim:
	@scripts/with-tools cargo test --locked --test sim -- --exact --nocapture sim

console:
	@scripts/console

desktop:
	@scripts/desktop

package:
	@scripts/package

package-node:
	@scripts/package-node

release-check:
	@scripts/release check

node: console
	@scripts/with-tools cargo build --locked --release --bin clawmesh-node
	@echo "Built target/release/clawmesh-node"

bench:
	@scripts/with-tools cargo bench --locked

fmt:
	@scripts/with-tools cargo fmt

clean:
	cargo clean
