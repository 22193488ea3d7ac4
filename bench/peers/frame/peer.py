"""The frame of a peer program: work directory, commands on stdin, answers on stdout, the end.

Peers in Python import it; procs.py beside it starts, watches and stops their processes.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from procs import Procs

COMMAND_DEFAULTS = {"agents": 16, "seconds": 10, "steps": 10, "bytes": 1000, "warmup_seconds": 3}
MAY_BE_FRACTION = {"seconds", "warmup_seconds"}
MAY_BE_ZERO = {"warmup_seconds"}
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_MISSING = 3


class Missing(Exception):
    """Something that this peer needs is not on this machine."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def require_program(name, purpose):
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed; it is needed for {purpose}")
    return path


def install_once(args, work, lock_file, install):
    """Calls `install()` unless it has already succeeded for just this lock file.

    With --offline nothing is installed: what is not there is missing.
    """
    stamp = work / f"installed-{lock_file.name}"
    with open(work / "install.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == lock_file.read_bytes():
            return
        if args.offline:
            raise Missing(f"it is not installed in {work}; start it once without --offline")
        stamp.unlink(missing_ok=True)
        try:
            install()
        except RuntimeError as error:
            raise Missing(f"it could not be installed; is its registry reachable? {error}") from error
        shutil.copy(lock_file, stamp)


def main(peer, description, options, start):
    """Runs a peer. `start(args, work, data, procs)` returns (the ready line, `measure(command)`).

    `options` are switches besides --work and --offline, as name -> help text.
    """
    args = _parse_arguments(peer, description, options)
    work = args.work.resolve()
    for number in STOP_SIGNALS:
        signal.signal(number, _on_signal)
    data = None
    procs = None
    try:
        work.mkdir(parents=True, exist_ok=True)
        data = _fresh_data_dir(work)
        procs = Procs(data / "logs")
        ready, measure = start(args, work, data, procs)
        _say({"ready": True, "peer": peer} | ready)
        for line in sys.stdin:
            if line.strip():
                _say(_answer(line, procs, measure))
        return EXIT_STOPPED
    except Missing as missing:
        note(f"{peer}: {missing}")
        return EXIT_MISSING
    except (RuntimeError, OSError) as error:
        note(f"{peer}: {error}")
        return EXIT_FAILED
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # nothing interrupts the cleaning up
        if procs:
            procs.stop_all()
        if data:
            shutil.rmtree(data)


def metered(procs, load, command, parameters):
    """The answer to `command` from the lines that the load program prints about it.

    They are {"event":"start"} and {"event":"stop"} around the measured time, then the result or
    an error; the CPU of all processes is read at the two events.
    """
    readings = []
    for line in load.stdout:
        message = json.loads(line)
        if "event" in message:
            readings.append(procs.meter())
            continue
        if "error" in message:
            return message
        cpu, machine = procs.cores_used(*readings)
        about = {"machine_cores": os.cpu_count(), "machine_cores_busy": machine}
        return message | {
            "cpu": cpu,
            "bottleneck": procs.bottleneck(cpu),
            "parameters": command | about | parameters,
        }
    load.wait()
    procs.require_alive()  # says with which status it ended


def _answer(line, procs, measure):
    try:
        command = _parse_command(line)
        procs.require_alive()
        return measure(command)
    except (ValueError, RuntimeError, OSError) as error:
        return {"error": str(error)}


def _parse_command(line):
    try:
        command = json.loads(line)
    except ValueError:
        command = None
    if not isinstance(command, dict):
        raise ValueError("a command is a JSON object on one line")
    unknown = sorted(set(command) - set(COMMAND_DEFAULTS))
    if unknown:
        raise ValueError(f"unknown field: {', '.join(unknown)}")
    command = COMMAND_DEFAULTS | command
    for name, value in command.items():
        kinds = (int, float) if name in MAY_BE_FRACTION else (int,)
        if type(value) not in kinds or value < 0 or (value == 0 and name not in MAY_BE_ZERO):
            raise ValueError(f"{name} is out of range: {value!r}")
    return command


def _parse_arguments(peer, description, options):
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    work = cache / "spine-bench" / peer
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=work, metavar="DIR", help=f"default: {work}")
    parser.add_argument("--offline", action="store_true", help="install nothing")
    for name, text in options.items():
        parser.add_argument(name, action="store_true", help=text)
    return parser.parse_args()


def _fresh_data_dir(work):
    """A new directory for this process; those of killed ones are swept away."""
    root = work / "data"
    root.mkdir(exist_ok=True)
    for left in root.iterdir():
        if not Path("/proc", left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
    own = root / str(os.getpid())
    own.mkdir()
    return own


def _say(message):
    print(json.dumps(message), flush=True)


def _on_signal(_number, _frame):
    raise SystemExit(EXIT_STOPPED)
