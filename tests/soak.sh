#!/usr/bin/env bash
# The long form of every test, one JSON line per row with commit and parameters. Some hours; run it
# on an otherwise quiet machine. SPINE_SIM_SEEDS says how many seeds of each world are simulated.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
profile=${PROFILE:-ci}
seeds=${SPINE_SIM_SEEDS:-20000}
features="spine-tests/mutants,spine-cli/fault-points"
commit=$(git rev-parse --short HEAD)

# One row at a time: what is measured is not disturbed by its neighbours.
SPINE_SOAK=1 "$cargo" test --quiet --locked --profile "$profile" --workspace \
  --features "$features" --test it -- --nocapture --test-threads 1 | grep --line-buffered -o '{".*}$'

# The same on Kafka and Cassandra, and several processes of them; where those cannot be had it says so.
SPINE_SOAK=1 tests/live.sh --nocapture | grep --line-buffered -o -e '{".*}$' -e '^skipped:.*$'

began=$(date +%s)
SPINE_SIM_SEEDS="$seeds" "$cargo" test --quiet --locked --profile "$profile" --workspace \
  --features "$features" --test sim -- --nocapture --test-threads 2 >&2
printf '{"row":"simulation","commit":"%s","soak":true,"parameters":{"seeds":%s},"result":{"clean":true},"took_ms":%s}\n' \
  "$commit" "$seeds" "$((($(date +%s) - began) * 1000))"
