"""How limits feel: goodput against the limit, the most in a tenth of a second, retransmits, delay added, fairness and CPU,
by mechanism, rate, direction and mix. The mechanisms take turns in every cell, so that what disturbs one disturbs all.

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
# mix -> [TCP connections, UDP floods] of each guest, or towards it
MIXES = {"1 TCP": [(1, 0)], "8 TCP": [(8, 0)], "UDP": [(0, 1)], "TCP beside UDP": [(1, 0), (0, 1)],
         "2 guests, 1 and 8 TCP": [(1, 0), (8, 0)], "8 guests": [(1, 0)] * 8, "8 guests, 1 with 8 TCP": [(8, 0)] + [(1, 0)] * 7,
         "2 of 8 guests, 1 and 8 TCP": [(1, 0), (8, 0)] + [(0, 0)] * 6}
DIRECTIONS = ("egress", "ingress")
RATES = (10_000_000, 100_000_000, 1_000_000_000)
MECHANISMS = ("grantd", "grantd policer", "CNI bandwidth (TBF)", "ifb and HTB", "no limit")
ROUND_TRIPS_MS = (20, 100)
WINDOW_SECONDS, LOOK_SECONDS = 0.1, 0.02


class Line:
    """Guests of one Grant on a node of their own, under one mechanism."""

    def __init__(self, mechanism, rate_bps, guests, direction="egress", round_trip_ms=0):
        self.home, self.mechanism, self.rate = PARTIES["grantee"][4], mechanism, rate_bps
        self.direction, self.round_trip_ms, self.burst_bytes = direction, round_trip_ms, None
        self.world = World()
        try:
            self.guests = [self.world.add_guest(f"g{number}") for number in range(guests)]
            limit = {"hard": {f"keystone.io/{direction}-bandwidth": str(rate_bps)}} if mechanism.startswith("grantd") else {}
            self.agent = Agent(self.world, *(["--shaper", "policer"] if mechanism == "grantd policer" else []))
            self.agent.grant(**limit)
            for guest in self.guests:
                self.agent.workload(guest)
            self.agent.start()
            if limit:
                self.burst_bytes = self.agent.json("grants")["grants"][0][f"{direction}_limit"]["burst_bytes"]
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
            config = {"cniVersion": "1.0.0", "name": "net", "type": "bandwidth", f"{self.direction}Rate": share,
                      f"{self.direction}Burst": max(share // 10, 8 * 131072),
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
        tc, out = lambda *words: self.world.node.run("tc", *words), self.direction == "egress"  # noqa: E731
        self.world.node.ip("link add ifb-bench type ifb", "link set ifb-bench txqueuelen 1000 up")
        bits = f"{self.rate}bit"
        tc("qdisc", "add", "dev", "ifb-bench", "root", "handle", "1:", "htb", "default", "99")
        tc("class", "add", "dev", "ifb-bench", "parent", "1:", "classid", "1:1", "htb", "rate", bits, "quantum", "60000")
        for number, guest in enumerate(self.guests):
            tc("class", "add", "dev", "ifb-bench", "parent", "1:1", "classid", f"1:{16 + number:x}", "htb", "rate",
               f"{self.rate // len(self.guests)}bit", "ceil", bits, "quantum", "60000")
            tc("filter", "add", "dev", "ifb-bench", "parent", "1:", "protocol", "all", "prio", "1", "u32", "match", "ip", "src" if out else "dst",
               guest.addresses[4], "flowid", f"1:{16 + number:x}")
            tc("qdisc", "replace", "dev", guest.interface, "clsact")
            tc("filter", "add", "dev", guest.interface, "ingress" if out else "egress", "protocol", "all", "prio", "1", "u32",
               "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", "ifb-bench")

    def ends(self, guest):
        """Who sends, from which address; who receives, at which address."""
        if self.direction == "egress":
            return guest.namespace, "0.0.0.0", self.world.outside, self.home
        return self.world.outside, self.home, guest.namespace, guest.addresses[4]

    def delivered(self):
        """Reads how many bytes have come to where the limit is behind them, to the outside or to the guests."""
        out = self.direction == "egress"
        with (self.world.outside if out else self.world.node).entered():
            table = open("/proc/thread-self/net/dev", encoding="ascii")  # pylint: disable=consider-using-with
        names = {"eth0"} if out else {guest.interface for guest in self.guests}

        def read():
            table.seek(0)
            rows = (line.split(":") for line in table if ":" in line)
            # received, and seven columns on sent
            return sum(int(rest.split()[0 if out else 8]) for name, rest in rows if name.strip() in names)
        return read

    def close(self):
        self.world.close()


class Windows:
    """The most that comes in a tenth of a second, by the counters of the kernel, which wait for nobody who reads."""

    def __init__(self, line):
        self.read, self.stop, self.looks = line.delivered(), threading.Event(), []
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while not self.stop.wait(LOOK_SECONDS):
            before, count, after = time.monotonic(), self.read(), time.monotonic()
            if after - before < LOOK_SECONDS / 40:  # else nobody knows when it was read
                self.looks.append((before, count))

    def end(self):
        """Bytes in all, and the most of a window, over its length in seconds."""
        self.stop.set()
        self.thread.join()
        most, first = 0.0, 0
        for at, count in self.looks[1:]:
            while at - self.looks[first + 1][0] >= WINDOW_SECONDS:
                first += 1
            if at - self.looks[first][0] >= WINDOW_SECONDS:
                most = max(most, (count - self.looks[first][1]) / (at - self.looks[first][0]))
        return self.looks[-1][1] - self.looks[0][1], most


class Sink:
    """Counts what arrives of each flow: bytes by (guest, flow)."""

    def __init__(self, line):
        self.line, self.bytes, self.stop, self.threads, self.sockets = line, {}, threading.Event(), [], []

    def _socket(self, kind, namespace):
        made = namespace.socket(socket.AF_INET, kind)
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

    def udp(self, key, namespace, address):
        made = self._socket(socket.SOCK_DGRAM, namespace)
        made.bind(address)
        self.start(key, made)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


# Until it is told to end: where processes take long to start, those that came first must not have ended before the last.
SENDER = """
import signal, socket, struct, sys
kind, source, goal, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
made.bind((source, 0))
made.connect((goal, port))
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


def probe(ends, seconds):
    """Delay of small datagrams under load, one way: both ends read one clock. `ends` as of Line."""
    sender, source, receiver, goal = ends
    server, client = (each.socket(socket.AF_INET, socket.SOCK_DGRAM) for each in (receiver, sender))
    delays, end = [], time.monotonic() + seconds
    with server, client:
        server.bind((goal, 7777))
        client.bind((source, 0))
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                client.sendto(struct.pack("d", time.monotonic()), (goal, 7777))
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
    for number, (connections, floods) in enumerate(MIXES[mix]):
        guest, port = line.guests[number], 6000 + number
        _, _, receiver, goal = line.ends(guest)
        with receiver.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=5) as listener:
            listener.bind((goal, port))
            listener.listen(64)
            for flow in range(connections):
                senders.append(_spawn(line, guest, "tcp", port))
                sink.start((number, flow), listener.accept()[0])
        for flow in range(floods):
            sink.udp((number, f"u{flow}"), receiver, (goal, port))
            senders.append(_spawn(line, guest, "udp", port))
    time.sleep(first)
    windows, before, busy, begin = Windows(line), dict(sink.bytes), busy_seconds(), time.monotonic()
    delays = probe(line.ends(line.guests[0]), seconds - 0.3)
    elapsed, moved, used = time.monotonic() - begin, {key: sink.bytes[key] - before[key] for key in before}, busy_seconds() - busy
    delivered, most = windows.end()
    for each in senders:
        each.send_signal(signal.SIGTERM)
    retransmits = sum(int(each.communicate(timeout=20)[0] or 0) for each in senders)
    sink.end()
    parts = [(0 if isinstance(flow, int) else 1, moved[number, flow]) for number, flow in moved]
    wire = sum(count / (UDP_PART if kind else TCP_PART) for kind, count in parts)
    by_guest = [sum(count for (number, _), count in moved.items() if number == each)
                for each, flows in enumerate(MIXES[mix]) if any(flows)]
    delays.sort()
    return {"goodput_ratio": wire * 8 / elapsed / line.rate, "retransmits": retransmits,
            # Interfaces count the headers of a packet of segmentation offload once.
            "most_in_100ms_ratio": most * 8 / line.rate * max(wire / delivered, 1) if delivered else None,
            "added_delay_p50_ms": 1e3 * statistics.median(delays) if delays else None,
            "added_delay_p99_ms": 1e3 * delays[int(len(delays) * 0.99)] if delays else None,
            "jain_by_guest": jain(by_guest), "jain_by_flow": jain(list(moved.values())),
            "cpu_s_per_gb": used / (sum(moved.values()) / 1e9) if any(moved.values()) else None}


def _spawn(line, guest, kind, port):
    sender, source, _, goal = line.ends(guest)
    return line.world.spawn(sender, sys.executable, "-c", SENDER, kind, source, goal, str(port), stdout=subprocess.PIPE, text=True)


def measure(line, mix, seconds):
    try:
        cell = run_cell(line, mix, seconds)
    finally:
        line.close()
    cell = {"mechanism": line.mechanism, "direction": line.direction, "rate_bps": line.rate, "burst_bytes": line.burst_bytes,
            "rtt_ms": line.round_trip_ms, "mix": mix, **cell}
    print(json.dumps(cell), file=sys.stderr, flush=True)
    return cell


def cells_of(rates, directions, round_trips_ms, mixes):
    """Of the path without a limit only what it costs by itself."""
    return [(rate, direction, round_trip, mix, mechanism) for rate in rates for direction in directions
            for round_trip in round_trips_ms for mix in mixes for mechanism in MECHANISMS if mechanism != "no limit" or mix == "1 TCP"]


def measure_bandwidth(quick, round_trips):
    # A whole machine is emulated for round trips, and has no CPU for the highest rate.
    rates, directions, round_trips_ms = (RATES[:2], DIRECTIONS[:1], ROUND_TRIPS_MS) if round_trips else (RATES, DIRECTIONS, (0,))
    mixes = tuple(MIXES)
    if quick:
        rates, mixes, round_trips_ms = rates[:1], mixes[:1], round_trips_ms[:1]
    return [measure(Line(mechanism, rate, len(MIXES[mix]), direction, round_trip), mix, 1 if quick else 3)
            for rate, direction, round_trip, mix, mechanism in cells_of(rates, directions, round_trips_ms, mixes)]


if __name__ == "__main__":
    json.dump(measure_bandwidth("--quick" in sys.argv, "--round-trips" in sys.argv), sys.stdout)
