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

# CI runs all of `it` on the embedded spine. On servers it runs those whose subject is the log, the store, what lies
# between them, or what happens to them in a crash; what follows from an event once it is folded is the same everywhere.
# `make soak` runs everything on all. Each name is the beginning or a part of names of tests.
#
# On Kafka with SQLite: that this log and this store go together, by what is replayed, rebuilt, and gone on with after a
# restart or a kill. What else there is to that pair the others prove, each with one of the two.
pairing=(boundaries:: events:: halts:: kills:: rebuild:: p9_many_runs_parked c9_a_restart_during_a_backoff
  survives_a_kill a_kill_of_the_server_between l41_kills over_a_restart_and_let_go c10_a_redrive c13_l40)
# On Kafka with Cassandra: these, the rows of the failure contract for HTTP tools, and one of each kind of thing that
# is stored or told to others.
cluster=("${pairing[@]}" agents:: approvals:: races:: unattended:: pushed:: waiting:: l24_every_row_of_the_failure_contract
  bench::every_job c20_the_demo c21_events_that_the_state c3_l28_l36_an_outage f2_a_tool_that_asks a_brain_of_three_turns
  c22_cancelling_a_run s8f_c22_a_step_that_is_a_run c16b_plan_runs l37_l23_a_paused_run l37_agents_of_a_paused_tenant
  c10_an_exhausted_step c18_an_equal_call c15_ended_runs two_workers_share_a_queue l22_a_long_job l46_a_backlog
  c8_a_crash_half_way c11_somebody_is_asked f23_one_failing_step c9_a_late_success f1_c1_k_failures f11c_a_step_that_kills_the_server
  s8_a_payment s8d_a_mail formats:: files_of_fastavro)

# The same packages and features as in `make test`, so that nothing is compiled twice.
tests_of() {
  local began=$SECONDS what=$1
  shift
  echo "live: $what"
  "$cargo" test --locked --profile "$profile" --workspace --features "$features" "$@"
  echo "live: $what took $((SECONDS - began)) s"
}

# Runs those of `it` that have one of the names, and says what is left out. A name that no test has any more is a fault.
some_of_it() {
  local on=$1 names one all chosen
  shift
  names=$("$cargo" test --quiet --locked --profile "$profile" --workspace --features "$features" --test it -- --list |
    sed -n 's/: test$//p')
  for one in "$@"; do
    grep -qF -e "$one" <<<"$names" || { echo "live: no test of it is named '$one' any more" >&2; exit 1; }
  done
  all=$(wc -l <<<"$names")
  chosen=$(grep -cF -f <(printf '%s\n' "$@") <<<"$names")
  echo "live: on $on $((all - chosen)) of $all tests are left to 'make soak'"
  SPINE_IT_ON=$on tests_of "it on $on, $chosen of $all tests" --test it -- --test-threads 3 "$@" "${asked[@]}"
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
# Most of the time of `it` is waiting: for a member to be missed, for a keyspace to be made.
if [[ -n ${SPINE_SOAK:-} ]]; then
  for on in kafka+sqlite kafka+cql; do
    SPINE_IT_ON=$on tests_of "it on $on" --test it -- --test-threads 3 "$@"
  done
else
  asked=("$@")
  some_of_it kafka+sqlite "${pairing[@]}"
  some_of_it kafka+cql "${cluster[@]}"
fi
# One after another, for they break and measure.
tests_of "several processes" --test live -- --test-threads 1 "$@"
