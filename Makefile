# Temoin. `make help` lists what there is.
#
# Caches (builds, the inference runtime, models, tools) live outside the checkout, under
# $TEMOIN_CACHE, by default ~/.cache/temoin, so that a second clone builds nothing twice.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TEMOIN_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/temoin
export CARGO_TARGET_DIR ?= $(TEMOIN_CACHE)/target
export PATH := $(TEMOIN_CACHE)/tools/bin:$(HOME)/.cargo/bin:$(PATH):$(TEMOIN_CACHE)/tools/moto/bin
# One place tells every command where the runtime and the models are.
RUNTIME = export ORT_DYLIB_PATH="$$(scripts/onnxruntime.sh "$(TEMOIN_CACHE)/onnxruntime")" TEMOIN_MODELS="$(TEMOIN_CACHE)/models"

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup
setup: ## install what is missing: system packages, Rust, the inference runtime
	@scripts/setup.sh demo
	@scripts/own-build-folder.sh

.PHONY: models
models: setup ## fetch and verify the model pack
	@scripts/models.sh

# Without the pack the unit falls back to OpenCV's cascades, and device health says so.
PACK = scripts/models.sh || echo "going on without what is missing: device health says what the unit cannot see"

.PHONY: demo
demo: setup ## a whole demo fleet: server, portal, one unit on a recorded drive (DEMO_ONCE=1: ends by itself)
	@$(PACK)
	@echo "building (release; the first time takes many minutes)"
	@cargo build --release --locked -p temoin-keys -p temoin-decoder -p temoin-server -p temoin-witness -p temoin-agent -p temoin-tests -p temoin-benches --bins
	@$(RUNTIME); exec "$(CARGO_TARGET_DIR)/release/temoin-demo"

.PHONY: test
test: ## everything that CI runs
	@scripts/setup.sh test
	@scripts/own-build-folder.sh
	@$(PACK)
	@$(RUNTIME); scripts/test.sh

.PHONY: test-vm
test-vm: ## test the unit's devices against real Linux drivers, in an emulated machine
	@scripts/setup.sh vm
	@scripts/own-build-folder.sh
	@scripts/vm.sh

.PHONY: deb
deb: models ## build the unit's Debian package, target/temoin-agent_VERSION_ARCH.deb
	@$(RUNTIME); scripts/deb.sh release

.PHONY: bench
bench: models ## measure; writes target/bench.json and benches/RESULTS.md
	@$(RUNTIME); scripts/bench.sh

.PHONY: soak
soak: models ## drive for an hour in real time and measure memory, missed pictures, processor and disk; MINUTES=N for another length
	@cargo build --release --locked -p temoin-keys -p temoin-decoder -p temoin-server -p temoin-witness -p temoin-agent -p temoin-tests -p temoin-benches --bins
	@$(RUNTIME); mkdir -p target; "$(CARGO_TARGET_DIR)/release/temoin-soak" --minutes $(or $(MINUTES),60)

.PHONY: eval
eval: models ## score perception and events on recorded data; writes target/eval.json and target/eval/*.png
	@scripts/setup.sh eval || echo "going on without gpsd and gpsdecode: receivers' logs are not compared with them"
	@cargo build --release --locked -p temoin-keys -p temoin-decoder -p temoin-server -p temoin-witness -p temoin-agent -p temoin-tests -p temoin-benches --bins
	@$(RUNTIME); mkdir -p target; "$(CARGO_TARGET_DIR)/release/temoin-eval" --out target/eval.json

.PHONY: train
train: ## train the built-in networks anew, from rendered people (hours; Python 3.11 and EGL)
	@models/train/all.sh "$(TEMOIN_CACHE)/train"
	@scripts/builtin-manifest.sh

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZ_S seconds each (60); needs nightly Rust and cargo-fuzz
	@export CARGO_TARGET_DIR="$(TEMOIN_CACHE)/fuzz-target"; \
	cargo +nightly fuzz build -s none; \
	for target in $$(cargo +nightly fuzz list); do \
	  found="$(TEMOIN_CACHE)/fuzz-found/$$target"; mkdir -p "$$found"; echo "== $$target"; \
	  cargo +nightly fuzz run -s none $$target "$$found" fuzz/corpus/$$target -- \
	    -max_total_time=$(or $(FUZZ_S),60) -timeout=5 -max_len=8192; \
	done

.PHONY: fmt
fmt: ## format the code
	@cargo fmt --all
