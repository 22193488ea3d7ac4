#!/usr/bin/env python3
"""Asks Kafka and Cassandra nodes whether they are up, in their own protocols, with the standard library alone.

    health.py kafka     HOST:PORT [--id N] [--nodes N]   one metadata request
    health.py cassandra HOST:PORT [--nodes N] [--peers A,B]   one query, or one at consistency ALL
    health.py ports N                                    N free ports

--wait SECONDS asks again until the answer is good, --pid PID gives up when that process ends.
Exit code 0: healthy. 1: not within the time. 2: the process ended.
"""

import argparse
import os
import random
import socket
import struct
import sys
import time


class NotYet(Exception):
    """The node answers, and not as a healthy node does."""


class Unavailable(NotYet):
    """Cassandra sees too few replicas up; it says how many there are."""

    def __init__(self, wanted, alive):
        super().__init__(f"it sees {alive} of {wanted} nodes up")
        self.alive = alive


class Reader:
    """Big-endian fields off the front of a reply; both protocols are made of them."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if self.at + size > len(self.data):
            raise NotYet("the reply is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def int16(self):
        return struct.unpack(">h", self.take(2))[0]

    def int32(self):
        return struct.unpack(">i", self.take(4))[0]

    def string(self):
        return self.take(max(self.int16(), 0)).decode()

    def value(self):
        return self.take(max(self.int32(), 0))


def receive(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise NotYet("the connection was closed")
        data += more
    return data


def short(text):
    return struct.pack(">h", len(text)) + text.encode()


# Kafka ------------------------------------------------------------------------------------------

METADATA = 3


def kafka_brokers(address):
    """The ids of the brokers that this broker knows to be alive."""
    # Header version 1, then metadata version 4 for no topic at all, creating none.
    request = struct.pack(">hhi", METADATA, 4, 7) + short("spine-health") + struct.pack(">i?", 0, False)
    with socket.create_connection(address, timeout=3) as sock:
        sock.sendall(struct.pack(">i", len(request)) + request)
        reply = Reader(receive(sock, struct.unpack(">i", receive(sock, 4))[0]))
    reply.int32()  # the correlation id
    reply.int32()  # the throttle time
    brokers = []
    for _ in range(reply.int32()):
        brokers.append(reply.int32())
        reply.string()
        reply.int32()
        reply.string()
    return brokers


def check_kafka(args):
    brokers = kafka_brokers(args.address)
    if args.id and args.id not in brokers:
        raise NotYet(f"it is not among the live brokers yet, which are {brokers}")
    if len(brokers) < args.nodes:
        raise NotYet(f"it sees {len(brokers)} of {args.nodes} brokers")
    return f"brokers {sorted(brokers)}"


# Cassandra --------------------------------------------------------------------------------------

ERROR, STARTUP, READY, QUERY, RESULT = 0x00, 0x01, 0x02, 0x07, 0x08
ONE, ALL = 0x0001, 0x0005
UNAVAILABLE = 0x1000


def cql_frame(sock, opcode, body):
    sock.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    _, _, _, answer, size = struct.unpack(">BBhBi", receive(sock, 9))
    return answer, Reader(receive(sock, size))


def cql_query(sock, text, consistency=ONE):
    """The rows of a query, as lists of raw values. An error is a NotYet with its code."""
    body = struct.pack(">i", len(text)) + text.encode() + struct.pack(">hB", consistency, 0)
    answer, reply = cql_frame(sock, QUERY, body)
    if answer == ERROR:
        code, words = reply.int32(), reply.string()
        if code == UNAVAILABLE:
            reply.int16()
            raise Unavailable(reply.int32(), reply.int32())
        raise NotYet(words)
    if answer != RESULT or reply.int32() != 2:
        raise NotYet("the reply has no rows")
    flags, columns = reply.int32(), reply.int32()
    if flags & 1:
        reply.string(), reply.string()
    for _ in range(columns):
        reply.string()
        if reply.int16() not in (0x0D, 0x10):
            raise NotYet("a column is neither text nor an address")
    return [[reply.value() for _ in range(columns)] for _ in range(reply.int32())]


def check_alive(sock, nodes):
    """This table has three replicas. So on three nodes, a read at ALL tells how many of them this node sees up."""
    try:
        cql_query(sock, "SELECT keyspace_name FROM system_distributed.view_build_status LIMIT 1", ALL)
    except Unavailable as error:
        if error.alive < nodes:
            raise


def check_cassandra(args):
    with socket.create_connection(args.address, timeout=5) as sock:
        options = struct.pack(">h", 1) + short("CQL_VERSION") + short("3.0.0")
        answer, _ = cql_frame(sock, STARTUP, options)
        if answer != READY:
            raise NotYet("it refuses the session")
        release = cql_query(sock, "SELECT release_version FROM system.local")[0][0].decode()
        peers = [socket.inet_ntoa(row[0]) for row in cql_query(sock, "SELECT peer FROM system.peers")]
        missing = sorted(set(args.peers) - set(peers))
        if missing:
            raise NotYet(f"{', '.join(missing)} has not joined yet")
        if args.nodes > 1:
            check_alive(sock, args.nodes)
    return f"release {release}, {len(peers) + 1} nodes known"


# Ports ------------------------------------------------------------------------------------------


def free_ports(count):
    """Ports that are free on 127.0.0.1 to .3, below those that the kernel lends to outgoing connections: a node that is
    down for a moment finds its port still free when it comes back."""
    held, ports = [], []
    candidates = random.sample(range(15000, 32000), 2000)
    while len(ports) < count and candidates:
        port = candidates.pop()
        socks = [socket.socket() for _ in range(3)]
        try:
            for last, sock in enumerate(socks, start=1):
                sock.bind((f"127.0.0.{last}", port))
        except OSError:
            for sock in socks:
                sock.close()
            continue
        held += socks
        ports.append(port)
    if len(ports) < count:
        sys.exit(f"only {len(ports)} of {count} ports are free between 15000 and 32000")
    return ports


# ------------------------------------------------------------------------------------------------


def ended(pid):
    """Whether a process is gone; a zombie is gone too."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["kafka", "cassandra", "ports"])
    parser.add_argument("target", help="HOST:PORT, or how many ports")
    parser.add_argument("--id", type=int, help="the broker's own id")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes it must see up")
    parser.add_argument("--peers", type=lambda text: [a for a in text.split(",") if a], default=[])
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--pid", type=int)
    return parser.parse_args()


def main():
    args = arguments()
    if args.kind == "ports":
        print(*free_ports(int(args.target)))
        return 0
    host, port = args.target.rsplit(":", 1)
    args.address = (host, int(port))
    check = check_kafka if args.kind == "kafka" else check_cassandra
    deadline = time.monotonic() + args.wait
    while True:
        try:
            print(check(args))
            return 0
        except (OSError, NotYet) as error:
            reason = error
        if args.pid and ended(args.pid):
            print("the process ended", file=sys.stderr)
            return 2
        if time.monotonic() >= deadline:
            print(f"not healthy: {reason}", file=sys.stderr)
            return 1
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
