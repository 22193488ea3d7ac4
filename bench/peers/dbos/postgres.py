"""A private PostgreSQL server for the DBOS peer: password, free loopback port, fresh directory."""

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import peer
from procs import free_ports

INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps its versions
ACCOUNT = "postgres"  # PostgreSQL refuses to run as root
CAPABILITY = "dac_read_search"  # lets ACCOUNT pass through root's private directories
UP_WITHIN_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 1


def find_server():
    """The directory with initdb and postgres: the newest of Debian's, or the one in PATH."""
    debian = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda p: float(p.parent.parent.name))
    found = debian[-1] if debian else shutil.which("initdb")
    if not found:
        raise peer.Missing(f"no PostgreSQL server: no initdb in {INSTALLED}/*/bin nor in PATH")
    return Path(found).resolve().parent


def version(bin_dir):
    text = subprocess.check_output([bin_dir / "postgres", "--version"], text=True)
    return re.search(r"\d+(\.\d+)*", text)[0]


def unprivileged():
    """What to put before a PostgreSQL command, if we are root, to run it as ACCOUNT."""
    if os.geteuid() != 0:
        return []
    setpriv = peer.require_program("setpriv", "PostgreSQL, which refuses to run as root")
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise peer.Missing(f"PostgreSQL refuses to run as root and there is no user {ACCOUNT}")
    prefix = [setpriv, "--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]
    prefix += [f"--inh-caps=+{CAPABILITY}", f"--ambient-caps=+{CAPABILITY}"]
    prefix += ["--pdeathsig", "KILL"]  # the change of user has dropped the one that we had set
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        raise peer.Missing(f"PostgreSQL refuses to run as root and setpriv cannot become {ACCOUNT}")
    return prefix


def start(bin_dir, data, procs):
    """Starts a server on `data`/postgres with its default settings; returns the database URL."""
    prefix = unprivileged()
    cluster = data / "postgres"
    cluster.mkdir()
    password = secrets.token_hex()
    password_file = data / "password"
    password_file.touch(0o600)
    password_file.write_text(password)
    if prefix:
        shutil.chown(cluster, ACCOUNT, ACCOUNT)
        shutil.chown(password_file, ACCOUNT, ACCOUNT)
    initdb = [bin_dir / "initdb", "-D", cluster, "-U", ACCOUNT, "-E", "UTF8", "--no-locale"]
    initdb += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
    procs.finish("initdb", prefix + initdb, cwd=data)
    [port] = free_ports(1)
    postgres = [bin_dir / "postgres", "-D", cluster, "-p", port]
    postgres += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    procs.start(
        "postgres",
        prefix + postgres,
        cores=os.cpu_count(),
        stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
        cwd=data,
    )

    def problem():
        try:
            socket.create_connection(("127.0.0.1", port), CONNECT_TIMEOUT_SECONDS).close()
        except OSError as error:
            return str(error)

    procs.wait_until_up("PostgreSQL", problem, UP_WITHIN_SECONDS)
    return f"postgresql://{ACCOUNT}:{password}@127.0.0.1:{port}/dbos"
