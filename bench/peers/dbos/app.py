"""The DBOS application of the benchmark: one run is a workflow of `steps` durable steps.

The environment's DBOS_SYSTEM_DATABASE_URL names the database.
Prints {"version":...} once DBOS is up. Then, for each command on stdin, it runs `agents` closed
loops of workflows on threads and prints {"event":"start"} and {"event":"stop"} around the measured
time, then the result, each on a line.
"""

import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import sys
import threading
import time

from dbos import DBOS

APP_NAME = "spine-bench"
HEX_CHARS_PER_BYTE = 2
MS = 1000
DIGITS = 3

# Nothing but our lines may go to stdout: what else is printed goes to stderr.
answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

counter = itertools.count(1)
step_ends = []  # the time at which each step of the command in hand was durable


def say(message):
    print(json.dumps(message), file=answers, flush=True)


@DBOS.step()
def step(size):
    """Hex of SHAKE128 over a counter; the Restate peer makes the same string."""
    seed = str(next(counter)).encode()
    return hashlib.shake_128(seed).hexdigest(math.ceil(size / HEX_CHARS_PER_BYTE))[:size]


@DBOS.workflow()
def run(steps, size):
    for _ in range(steps):
        step(size)
        step_ends.append(time.monotonic())
    return steps


def percentile(ordered, share):
    return ordered[math.ceil(len(ordered) * share) - 1]


def measure(command):
    steps = command["steps"]
    runs = []  # (end, latency) of every run, in seconds
    failures = []
    stopping = threading.Event()
    step_ends.clear()

    def agent():
        try:
            while not stopping.is_set():
                begin = time.monotonic()
                run(steps, command["bytes"])
                end = time.monotonic()
                runs.append((end, end - begin))
        except Exception as error:  # whatever DBOS raises is the answer to the command
            failures.append(f"{type(error).__name__}: {error}")
            stopping.set()

    agents = [threading.Thread(target=agent) for _ in range(command["agents"])]
    for thread in agents:
        thread.start()
    stopping.wait(command["warmup_seconds"])
    window_begin = time.monotonic()
    say({"event": "start"})
    stopping.wait(command["seconds"])
    window_end = time.monotonic()
    say({"event": "stop"})
    stopping.set()
    for thread in agents:
        thread.join()
    if failures:
        return {"error": f"{len(failures)} agents failed, the first with {failures[0]}"}

    latencies = sorted(latency * MS for end, latency in runs if window_begin <= end < window_end)
    if not latencies:
        return {"error": "no run ended within the measured time: measure for longer"}
    count = sum(window_begin <= end < window_end for end in step_ends)
    seconds = window_end - window_begin
    p50, p99, longest = percentile(latencies, 0.5), percentile(latencies, 0.99), latencies[-1]
    return {
        "value": round(count / seconds, DIGITS),
        "unit": "steps/s",
        "p50_ms": round(p50 / steps, DIGITS),
        "p99_ms": round(p99 / steps, DIGITS),
        "max_ms": round(longest / steps, DIGITS),
        "run_p50_ms": round(p50, DIGITS),
        "run_p99_ms": round(p99, DIGITS),
        "run_max_ms": round(longest, DIGITS),
        "count": count,
        "seconds": round(seconds, DIGITS),
    }


def main():
    DBOS(config={"name": APP_NAME, "system_database_url": os.environ["DBOS_SYSTEM_DATABASE_URL"]})
    DBOS.launch()
    say({"version": importlib.metadata.version("dbos")})
    for line in sys.stdin:
        say(measure(json.loads(line)))
    DBOS.destroy()


if __name__ == "__main__":
    main()
