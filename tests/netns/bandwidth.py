"""How limits feel: goodput against the limit, retransmits, delay added, fairness and CPU, by mechanism, rate and mix. The
mechanisms take turns in every cell, so that what disturbs one disturbs all.

  bandwidth.py [--quick]                    cells as JSON on the standard output; tests/bench runs it
  bandwidth.py --round-trips [--quick]      with the delay of a line, which needs a kernel that has netem"""

import contextlib
import json
import os
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from agent import Agent
from traffic import SO_RCVBUFFORCE
from world import PARTIES, World, eventually

TCP_PART, UDP_PART = 1448 / 1514, 1400 / 1442
# mix -> [TCP connections, UDP floods] of each guest
MIXES = {"1 TCP": [(1, 0)], "8 TCP": [(8, 0)], "UDP": [(0, 1)], "TCP beside UDP": [(1, 0), (0, 1)],
         "2 guests, 1 and 8 TCP": [(1, 0), (8, 0)], "8 guests": [(1, 0)] * 8}
RATES = (10_000_000, 100_000_000, 1_000_000_000)
MECHANISMS = ("grantd", "grantd policer", "CNI bandwidth (TBF)", "ifb and HTB", "no limit")
ROUND_TRIPS_MS = (20, 100)
ROUND_TRIP_MIXES = ("1 TCP", "2 guests, 1 and 8 TCP")  # UDP waits for no answer


class Line:
    """Guests of one Grant on a node of their own, under one mechanism."""

    def __init__(self, mechanism, rate_bps, guests, round_trip_ms=0):
        self.home, self.mechanism, self.rate = PARTIES["grantee"][4], mechanism, rate_bps
        self.round_trip_ms = round_trip_ms
        self.world = World()
        try:
            self.guests = [self.world.add_guest(f"g{number}") for number in range(guests)]
            limit = {"hard": {"keystone.io/egress-bandwidth": str(rate_bps)}} if mechanism.startswith("grantd") else {}
            self.agent = Agent(self.world, *(["--shaper", "policer"] if mechanism == "grantd policer" else []))
            self.agent.grant(**limit)
            for guest in self.guests:
                self.agent.workload(guest)
            self.agent.start()
            if mechanism == "grantd":
                eventually(lambda: len(self.agent.json("endpoints")["endpoints"]) == guests, what="the guests")
                time.sleep(0.3)
            if mechanism == "CNI bandwidth (TBF)":
                self._cni()
            if mechanism == "ifb and HTB":
                self._htb()
            if round_trip_ms:  # all of it on the way back, so that the delay on the way out is what the limit adds
                self.world.outside.run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{round_trip_ms}ms",
                                       "limit", "100000")
        except BaseException:
            self.world.close()
            raise

    def _cni(self):
        """Each pod by itself: the plugin knows no Grant that they share, so each gets its part."""
        for guest in self.guests:
            netns = f"/run/netns/{guest.namespace.name}"
            share = self.rate // len(self.guests)
            config = {"cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "egressRate": share,
                      "egressBurst": max(share // 10, 8 * 131072),
                      "prevResult": {"cniVersion": "1.0.0", "ips": [], "interfaces": [
                          {"name": guest.interface, "mac": guest.gateway_mac},
                          {"name": "eth0", "mac": guest.mac, "sandbox": netns}]}}
            with self.world.node.entered():
                done = subprocess.run(["/usr/lib/cni/bandwidth"], input=json.dumps(config), capture_output=True, text=True,
                                      check=False, env={"CNI_COMMAND": "ADD", "CNI_CONTAINERID": guest.name, "CNI_NETNS": netns,
                                                        "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni"})
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)

    def _htb(self):
        """What HTB on an ifb does by itself, with a class for each guest."""
        tc = lambda *words: self.world.node.run("tc", *words)  # noqa: E731
        self.world.node.ip("link add ifb-bench type ifb", "link set ifb-bench txqueuelen 1000 up")
        bits = f"{self.rate}bit"
        tc("qdisc", "add", "dev", "ifb-bench", "root", "handle", "1:", "htb", "default", "99")
        tc("class", "add", "dev", "ifb-bench", "parent", "1:", "classid", "1:1", "htb", "rate", bits, "quantum", "60000")
        for number, guest in enumerate(self.guests):
            tc("class", "add", "dev", "ifb-bench", "parent", "1:1", "classid", f"1:{16 + number:x}", "htb", "rate",
               f"{self.rate // len(self.guests)}bit", "ceil", bits, "quantum", "60000")
            tc("filter", "add", "dev", "ifb-bench", "parent", "1:", "protocol", "all", "prio", "1", "u32", "match", "ip", "src",
               guest.addresses[4], "flowid", f"1:{16 + number:x}")
            tc("qdisc", "add", "dev", guest.interface, "ingress")
            tc("filter", "add", "dev", guest.interface, "parent", "ffff:", "protocol", "all", "prio", "1", "u32", "match", "u32",
               "0", "0", "action", "mirred", "egress", "redirect", "dev", "ifb-bench")

    def close(self):
        self.world.close()


class Sink:
    """Counts what arrives of each flow at the outside: bytes by (guest, flow)."""

    def __init__(self, line):
        self.line, self.bytes, self.stop, self.threads, self.sockets = line, {}, threading.Event(), [], []

    def _socket(self, kind):
        made = self.line.world.outside.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.sockets.append(made)
        return made

    def _drain(self, made, key):
        while not self.stop.is_set():
            try:
                data = made.recv(1 << 18)
            except OSError:
                continue
            if not data:
                return
            self.bytes[key] += len(data)

    def start(self, key, made):
        self.bytes[key] = 0
        made.settimeout(0.2)
        thread = threading.Thread(target=self._drain, args=(made, key), daemon=True)
        thread.start()
        self.threads.append(thread)

    def udp(self, key, port):
        made = self._socket(socket.SOCK_DGRAM)
        made.bind((self.line.home, port))
        self.start(key, made)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


# Until it is told to end: where processes take long to start, those that came first must not have ended before the last.
SENDER = """
import signal, socket, struct, sys
kind, home, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
made.connect((home, port))
chunk, retransmits = b"x" * ((1 << 16) if kind == "tcp" else 1400), 0
made.settimeout(0.5)
while not told:
    try:
        made.send(chunk)
    except OSError:
        pass
if kind == "tcp":
    retransmits = struct.unpack_from("I", made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 100)[0]
print(retransmits)
"""


def probe(line, seconds):
    """Delay of small datagrams of the first guest under load, one way: both ends read one clock."""
    server = line.world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client = line.guests[0].socket(socket.AF_INET, socket.SOCK_DGRAM)
    delays, end = [], time.monotonic() + seconds
    with server, client:
        server.bind((line.home, 7777))
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                client.sendto(struct.pack("d", time.monotonic()), (line.home, 7777))
            until = time.monotonic() + 0.01
            while (left := until - time.monotonic()) > 0:
                if select.select([server], [], [], left)[0]:
                    delays.append(time.monotonic() - struct.unpack("d", server.recv(64))[0])
    return delays


def busy_seconds():
    """CPU time of the whole machine that was not idle; what else runs is in it."""
    with open("/proc/stat", encoding="ascii") as stat:
        values = [int(each) for each in stat.readline().split()[1:9]]
    return (sum(values) - values[3] - values[4]) / os.sysconf("SC_CLK_TCK")


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(each * each for each in values)) if any(values) else 0.0


def run_cell(line, mix, seconds):
    sink, senders = Sink(line), []
    first = 1 + 0.03 * line.round_trip_ms  # the burst, and slow start
    listener = line.world.outside.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=5)
    port = 6000 + run_cell.count * 20
    run_cell.count += 1
    listener.bind((line.home, port))
    listener.listen(64)
    for number, (connections, floods) in enumerate(MIXES[mix]):
        guest = line.guests[number]
        for flow in range(connections):
            senders.append(_spawn(line, guest, "tcp", port))
            accepted = listener.accept()[0]
            sink.start((number, flow), accepted)
        for flow in range(floods):
            sink.udp((number, f"u{flow}"), port + 1 + number)
            senders.append(_spawn(line, guest, "udp", port + 1 + number))
    time.sleep(first)
    before, busy, begin = dict(sink.bytes), busy_seconds(), time.monotonic()
    delays = probe(line, seconds - 0.3)
    elapsed, moved, used = time.monotonic() - begin, {key: sink.bytes[key] - before[key] for key in before}, busy_seconds() - busy
    for each in senders:
        each.send_signal(signal.SIGTERM)
    retransmits = sum(int(each.communicate(timeout=20)[0] or 0) for each in senders)
    sink.end()
    listener.close()
    parts = [(0 if isinstance(flow, int) else 1, moved[number, flow]) for number, flow in moved]
    wire = sum(count / (UDP_PART if kind else TCP_PART) for kind, count in parts)
    by_guest = [sum(count for (number, _), count in moved.items() if number == each) for each in range(len(line.guests))]
    delays.sort()
    return {"goodput_ratio": wire * 8 / elapsed / line.rate, "retransmits": retransmits,
            "added_delay_p50_ms": 1e3 * statistics.median(delays) if delays else None,
            "added_delay_p99_ms": 1e3 * delays[int(len(delays) * 0.99)] if delays else None,
            "jain_by_guest": jain(by_guest), "jain_by_flow": jain(list(moved.values())),
            "cpu_s_per_gb": used / (sum(moved.values()) / 1e9) if any(moved.values()) else None}


run_cell.count = 0


def _spawn(line, guest, kind, port):
    return line.world.spawn(guest.namespace, sys.executable, "-c", SENDER, kind, line.home, str(port),
                            stdout=subprocess.PIPE, text=True)


def measure(line, mix, seconds):
    try:
        cell = run_cell(line, mix, seconds)
    finally:
        line.close()
    cell = {"mechanism": line.mechanism, "rate_bps": line.rate, "rtt_ms": line.round_trip_ms, "mix": mix, **cell}
    print(json.dumps(cell), file=sys.stderr, flush=True)
    return cell


def cells_of(rates, mixes, round_trips_ms):
    """Of the path without a limit only what it costs by itself."""
    return [(rate, round_trip, mix, mechanism) for rate in rates for round_trip in round_trips_ms for mix in mixes
            for mechanism in MECHANISMS if mechanism != "no limit" or mix == "1 TCP"]


def measure_bandwidth(quick, round_trips):
    rates, mixes, round_trips_ms = (RATES[:2], ROUND_TRIP_MIXES, ROUND_TRIPS_MS) if round_trips else (RATES, tuple(MIXES), (0,))
    if quick:
        rates, mixes, round_trips_ms = rates[:1], mixes[:1], round_trips_ms[:1]
    return [measure(Line(mechanism, rate, len(MIXES[mix]), round_trip), mix, 1 if quick else 3)
            for rate, round_trip, mix, mechanism in cells_of(rates, mixes, round_trips_ms)]


if __name__ == "__main__":
    json.dump(measure_bandwidth("--quick" in sys.argv, "--round-trips" in sys.argv), sys.stdout)
