"""Processes of one peer: start, stop and meter them.

How a peer speaks is in peer.py.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

STOP_GRACE_SECONDS = 5  # between the polite signal and SIGKILL
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1  # prctl(2): signal for the child when its parent dies
BUSY_SHARE = 0.5  # below this share of its limit a process counts as waiting
LOG_TAIL_LINES = 15
POLL_SECONDS = 0.05

# Field numbers in /proc/PID/stat, counted from the state that follows "(comm)".
STAT_PPID = 1
STAT_CPU = slice(11, 15)  # utime, stime, and both of the children already reaped

_libc = ctypes.CDLL(None)


class Procs:
    """The processes of one peer, by name, in the order in which they were started."""

    def __init__(self, log_dir):
        self.log_dir = Path(log_dir)
        self._procs = {}  # name -> (Popen, stop signal, cores it can use)

    def start(self, name, argv, *, cores, stop_signal=signal.SIGTERM, **popen):
        """Starts `argv` in its own process group; it dies with us even if we are killed."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        with open(self.log(name), "ab") as log:
            popen = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **popen}
            proc = subprocess.Popen(
                [str(a) for a in argv],
                start_new_session=True,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
                **popen,
            )
        self._procs[name] = (proc, stop_signal, cores)
        return proc

    def finish(self, name, argv, **popen):
        """Runs `argv` to its end; raises with the tail of its output if it fails."""
        code = self.start(name, argv, cores=1, **popen).wait()
        self.stop(name)
        if code != 0:
            raise RuntimeError(f"{name} failed with status {code}:\n{self.log_tail(name)}")

    def stop(self, name):
        proc, stop_signal, _ = self._procs.pop(name)
        for pipe in (proc.stdin, proc.stdout):
            if pipe:
                pipe.close()
        if proc.poll() is None:
            _signal_group(proc.pid, stop_signal)
            try:
                proc.wait(STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        _signal_group(proc.pid, signal.SIGKILL)
        proc.wait()

    def stop_all(self):
        for name in reversed(list(self._procs)):
            self.stop(name)

    def require_alive(self):
        for name, (proc, _, _) in self._procs.items():
            if proc.poll() is not None:
                raise RuntimeError(
                    f"{name} ended with status {proc.returncode}:\n{self.log_tail(name)}"
                )

    def wait_until_up(self, what, problem, seconds):
        """Polls `problem` until it returns None; fails at once when a process has ended."""
        deadline = time.monotonic() + seconds
        while (reason := problem()) is not None:
            self.require_alive()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} is not up after {seconds} s: {reason}")
            time.sleep(POLL_SECONDS)

    def log(self, name):
        return self.log_dir / f"{name}.log"

    def log_tail(self, name):
        lines = self.log(name).read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def meter(self):
        """A reading for `cores_used`: time, machine's busy ticks, CPU seconds by name."""
        stats = _all_stats()
        used = {n: _tree_cpu(stats, p.pid) for n, (p, _, _) in self._procs.items()}
        return time.monotonic(), _machine_busy_ticks(), used

    def cores_used(self, begin, end):
        """Cores in use between two readings: by process, and by the whole machine."""
        (begin_time, begin_busy, begin_used), (end_time, end_busy, end_used) = begin, end
        seconds = end_time - begin_time
        by_name = {n: round((end_used[n] - begin_used[n]) / seconds, 2) for n in end_used}
        return by_name, round((end_busy - begin_busy) / TICKS_PER_SECOND / seconds, 2)

    def bottleneck(self, by_name):
        """The process nearest to the cores it can use, or `waiting`."""
        share = {n: used / self._procs[n][2] for n, used in by_name.items()}
        name = max(share, key=share.get)
        return name if share[name] >= BUSY_SHARE else "waiting"


def free_ports(count):
    """`count` different loopback ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _signal_group(pgid, sig):
    try:
        os.killpg(pgid, sig)
    except ProcessLookupError:
        pass


def _all_stats():
    """pid -> (parent pid, CPU ticks) of every process on the machine."""
    stats = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
            except OSError:  # it ended while we looked
                continue
            fields = text[text.rindex(")") + 2 :].split()
            stats[int(entry)] = (int(fields[STAT_PPID]), sum(map(int, fields[STAT_CPU])))
    return stats


def _tree_cpu(stats, root):
    """CPU seconds of `root` and all its descendants."""
    tree, ticks = [root], 0
    for pid in tree:  # grows while we go through it
        ticks += stats.get(pid, (0, 0))[1]
        tree += [child for child, (parent, _) in stats.items() if parent == pid]
    return ticks / TICKS_PER_SECOND


def _machine_busy_ticks():
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return user + nice + system + irq + softirq
