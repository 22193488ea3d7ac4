#!/usr/bin/env bash
# The tests on real servers: the contracts of Kafka's log and CQL's store, the integration tests on both
# substrates, and several processes that lose servers and one another. Arguments go to the test binaries.
#
# Servers: those that SPINE_TEST_KAFKA, SPINE_TEST_CQL and SPINE_TEST_SERVERS_DIR name; else those of
# `make servers-up`; else it starts them, and takes them down at the end. Where they cannot be had it says what
# was skipped, which is a failure with CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
profile=${PROFILE:-ci}
features="spine-tests/mutants,spine-cli/fault-points"

# The same packages and features as in `make test`, so that nothing is compiled twice.
tests_of() {
  local began=$SECONDS what=$1
  shift
  echo "live: $what"
  "$cargo" test --locked --profile "$profile" --workspace --features "$features" "$@"
  echo "live: $what took $((SECONDS - began)) s"
}

take_down() {
  echo "live: taking the servers down"
  compose/servers down
}

start_servers() {
  if compose/servers status >/dev/null 2>&1; then
    echo "live: on the servers of compose/run, which are left as they are"
    return
  fi
  trap take_down EXIT
  trap 'exit 130' INT TERM
  local code=0
  compose/servers up >/dev/null || code=$?
  ((code != 0)) || return 0
  # 3: something is missing on this machine. Anything else is a fault.
  ((code == 3)) || exit "$code"
  trap - EXIT
  echo "skipped: the tests on Kafka and Cassandra, for their servers cannot be had here (see above): the contracts of" \
    "log/kafka and store/cql, it on kafka+sqlite and kafka+cql, and live"
  [[ ${CI:-} != true ]] || { echo "CI=true, and here nothing may be skipped: install JDK 17 and Maven" >&2; exit 1; }
  exit 0
}

named=${SPINE_TEST_KAFKA:+x}${SPINE_TEST_CQL:+x}${SPINE_TEST_SERVERS_DIR:+x}
if [[ $named != xxx ]]; then
  start_servers
  set -a
  source compose/run/servers.env
  set +a
fi

"$cargo" build --quiet --locked --profile "$profile" --workspace --bin spine --test it --test live --features "$features"
export SPINE_LIVE=required SPINE_BIN="${CARGO_TARGET_DIR:-$PWD/target}/$profile/spine"
tests_of "contracts" --test kafka --test cql -- "$@"
# Most of their time is waiting: for a member to be missed, for a keyspace to be made.
SPINE_IT_ON=kafka+sqlite tests_of "it on kafka+sqlite" --test it -- --test-threads 3 "$@"
SPINE_IT_ON=kafka+cql tests_of "it on kafka+cql" --test it -- --test-threads 3 "$@"
# One after another, for they break and measure.
tests_of "several processes" --test live -- --test-threads 1 "$@"
