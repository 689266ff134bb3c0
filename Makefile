# `make` lists the targets.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
.PHONY: help demo test unit e2e verify bench check generate install down

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## From nothing to the joongna pipeline on kind, checked against what the site says
	@deploy/examples/joongna/demo

test: ## Every test: checks, unit tests, real Kafka on loopback, the pipeline on kind
	@tests/run all

unit: ## The tests that need neither Kafka nor a cluster
	@tests/run unit

e2e: ## The tests on kind
	@tests/run e2e

verify: ## The filtered sum under 60 rounds of faults, and the verifier against broken workers (15 to 30 min)
	@tests/run verify --rounds 60

bench: ## Measure one part: make bench NAME=operator (on kind), NAME=filtered-sum or NAME=autoscaling writes target/bench/NAME.json
	@tests/bench/run "$(NAME)"

check: ## Format, lints, licences, generated files, charts, scripts
	@tests/check

generate: ## Write crds/ and the chart of them from operator/api, and the table of values
	@cargo run --quiet --package naru-api --bin crdgen
	@charts/readme

install: ## The operator of this tree on the kind cluster, with the stack it needs
	@deploy/install

down: ## Delete the kind cluster; what was built or fetched for it is kept
	@deploy/cluster/down
