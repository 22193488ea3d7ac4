# Everything that one does with this repository. `make help` lists it.
CARGO ?= cargo
PROFILE := ci

.PHONY: help demo test unit sim soak bench check fmt accept clean servers-up servers-up3 servers-down servers-down3 servers-logs

help: ## Say what there is to make.
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# The demo's log and store, where they are not files: LOG=kafka, STORE=cql.
ON_SERVERS = $(if $(LOG),--log $(LOG)://$$SPINE_TEST_KAFKA/demo) $(if $(STORE),--store $(STORE)://$$SPINE_TEST_CQL/demo)

demo: ## Build Spine and watch it run, fail, recover and replay (under a minute after the build); LOG=kafka STORE=cql takes the servers of servers-up.
	$(if $(filter-out kafka,$(LOG))$(filter-out cql,$(STORE)),$(error LOG is kafka or nothing, STORE is cql or nothing))
	@$(if $(LOG)$(STORE),compose/servers status >/dev/null 2>&1 || { echo "the servers of compose/run are not up: make servers-up" >&2; exit 1; })
	$(CARGO) build --quiet --locked --profile $(PROFILE) --bin spine
	@$(if $(LOG)$(STORE),. compose/run/servers.env &&) ./target/$(PROFILE)/spine demo $(ON_SERVERS)

# What the tests are built with: planted faults for the simulation, fault points for the crash tests.
TEST_FEATURES := spine-tests/mutants,spine-cli/fault-points

test: ## Build everything and run all tests; those on Kafka and Cassandra where JDK 17 and Maven are.
	$(CARGO) build --locked --profile $(PROFILE) --workspace --bin spine --test it --test live --features $(TEST_FEATURES)
	$(CARGO) test --locked --profile $(PROFILE) --workspace --features $(TEST_FEATURES)
	CARGO="$(CARGO)" PROFILE="$(PROFILE)" tests/live.sh

unit: ## Run the tests of the crates alone, without simulation and crash tests.
	$(CARGO) test --locked --profile $(PROFILE) -p spine-schemas -p spine-runs -p spine-log -p spine-store -p spine-ingest -p spine-workers -p spine-cli

sim: ## Run the simulation; SEED=n repeats one seed, WORLD=embedded|cluster chooses its world.
	$(if $(SEED),SEED=$(SEED)) $(CARGO) test --locked --profile $(PROFILE) -p spine-tests --features mutants --test sim -- --nocapture $(WORLD)

soak: ## Run the long form of every test; one JSON line per row.
	tests/soak.sh

# On the servers of servers-up if they are up, and beside the peers if PEERS names their folder.
bench: ## Measure how fast it is, beside what this machine gives; PEERS=bench/peers also beside peers, ARGS are those of `spine bench`.
	$(CARGO) build --quiet --locked --release --bin spine
	@bench/run ./target/release/spine $(if $(PEERS),--peers $(PEERS)) $(ARGS)

check: ## Check format and lints.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --profile $(PROFILE) --workspace --all-targets -- -D warnings

servers-up: ## Start Kafka and Cassandra, one node each, without Docker (JDK 17, Maven), and wait until both are healthy.
	@compose/servers up

servers-up3: ## Start three nodes of each in compose/run3.
	@compose/servers up --nodes 3 --dir compose/run3

servers-down: ## Stop the servers and delete their data.
	@compose/servers down

servers-down3: ## Stop the three-node form and delete its data.
	@compose/servers down --dir compose/run3

servers-logs: ## Show the last lines of the servers' logs.
	@compose/servers logs

clean: ## Remove what was built.
	$(CARGO) clean
