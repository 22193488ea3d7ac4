# Everything that one does with this repository. `make help` lists it.
CARGO ?= cargo
PROFILE := ci

.PHONY: help demo test unit sim soak check fmt accept clean

help: ## Say what there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: ## Build Spine and watch it run, fail, recover and replay (under a minute after the build).
	$(CARGO) build --quiet --locked --profile $(PROFILE) --bin spine
	./target/$(PROFILE)/spine demo

# What the tests are built with: planted faults for the simulation, fault points for the crash tests.
TEST_FEATURES := spine-tests/mutants,spine-cli/fault-points

test: ## Build everything and run all tests.
	$(CARGO) build --locked --profile $(PROFILE) --workspace --bin spine --test it --features $(TEST_FEATURES)
	$(CARGO) test --locked --profile $(PROFILE) --workspace --features $(TEST_FEATURES)

unit: ## Run the tests of the crates alone, without simulation and crash tests.
	$(CARGO) test --locked --profile $(PROFILE) -p spine-schemas -p spine-runs -p spine-log -p spine-store -p spine-ingest -p spine-workers -p spine-cli

sim: ## Run the simulation; SEED=n repeats one seed, WORLD=embedded|cluster chooses its world.
	$(if $(SEED),SEED=$(SEED)) $(CARGO) test --locked --profile $(PROFILE) -p spine-tests --features mutants --test sim -- --nocapture $(WORLD)

soak: ## Run the long form of every test; one JSON line per row.
	tests/soak.sh

check: ## Check format and lints.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --profile $(PROFILE) --workspace --all-targets -- -D warnings

clean: ## Remove what was built.
	$(CARGO) clean
