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

# On Kafka with SQLite CI runs those of `it` whose subject is that this log and this store go together: what is replayed,
# rebuilt, and gone on with after a restart or a kill. What else there is to that pair the others prove, each with
# one of the two; `make soak` runs everything. Each is the beginning or a part of names of tests.
pairing=(boundaries:: events:: halts:: kills:: rebuild:: p9_many_runs_parked c9_a_restart_during_a_backoff
  survives_a_kill a_kill_of_the_server_between l41_kills over_a_restart_and_let_go c10_a_redrive c13_l40)

# The same packages and features as in `make test`, so that nothing is compiled twice.
tests_of() {
  local began=$SECONDS what=$1
  shift
  echo "live: $what"
  "$cargo" test --locked --profile "$profile" --workspace --features "$features" "$@"
  echo "live: $what took $((SECONDS - began)) s"
}

# Counts what is chosen of `it`, and says what is left out. A choice that names nothing any more is a fault.
of_the_pair() {
  local names one
  names=$("$cargo" test --quiet --locked --profile "$profile" --workspace --features "$features" --test it -- --list |
    sed -n 's/: test$//p')
  for one in "${pairing[@]}"; do
    grep -qF -e "$one" <<<"$names" || { echo "live: no test of it is named '$one' any more" >&2; exit 1; }
  done
  all=$(wc -l <<<"$names")
  chosen=$(grep -cF -f <(printf '%s\n' "${pairing[@]}") <<<"$names")
  echo "live: on kafka+sqlite $((all - chosen)) of $all tests are left to 'make soak'; those of the list 'pairing' run"
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
if [[ -n ${SPINE_SOAK:-} ]]; then
  SPINE_IT_ON=kafka+sqlite tests_of "it on kafka+sqlite" --test it -- --test-threads 3 "$@"
else
  of_the_pair
  SPINE_IT_ON=kafka+sqlite tests_of "it on kafka+sqlite, $chosen of $all tests" --test it -- --test-threads 3 "${pairing[@]}" "$@"
fi
SPINE_IT_ON=kafka+cql tests_of "it on kafka+cql" --test it -- --test-threads 3 "$@"
# One after another, for they break and measure.
tests_of "several processes" --test live -- --test-threads 1 "$@"
