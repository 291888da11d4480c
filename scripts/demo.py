"""The show of scripts/demo. Not to be started by itself: it wants a mount namespace of its own."""

import datetime
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "netns"))
from world import DESTINATIONS, PARTIES, REALMS, World, eventually  # noqa: E402  pylint: disable=wrong-import-position

FAST = "--fast" in sys.argv[1:]
COLOUR = sys.stdout.isatty()
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
LIMIT_BPS = 20_000_000
AGENT = ROOT / "build" / "release" / "agent"
surprises = []


def paint(text, code):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def title(text):
    print("\n" + paint(text, "1"), flush=True)
    pause(0.6)


def say(text):
    print("  " + text, flush=True)


def pause(seconds):
    time.sleep(0 if FAST else seconds)


def outcome(what, passes, expected, why=""):
    """One line of the show; what was not expected is remembered."""
    word = paint("passes ", "32") if passes else paint("dropped", "33")
    note = ""
    if passes != expected:
        surprises.append(what)
        note = paint("   NOT AS EXPECTED", "31;1")
    print(f"  {what:<58} {word} {why}{note}", flush=True)
    pause(0.3)


def connects(namespace, address, port, family, seconds=0.7):
    """A TCP connection, made and closed again."""
    client = namespace.socket(FAMILY[family], socket.SOCK_STREAM, timeout=seconds)
    try:
        client.connect((address, port))
        return True
    except OSError:
        return False
    finally:
        client.close()


class Server:
    """Accepts TCP connections and sends back what comes in."""

    def __init__(self, namespace, address, port, family):
        self.listener = namespace.socket(FAMILY[family], socket.SOCK_STREAM, timeout=None)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # the show is over
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection):
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass


def alive(connection):
    """Whether something still comes back on a connection."""
    connection.settimeout(0.5)
    try:
        connection.sendall(b"are you there?")
        return bool(connection.recv(64))
    except OSError:
        return False


class Node:
    """Alice's node: the world, the manifests, the agent."""

    def __init__(self, world):
        self.world = world
        self.directory = pathlib.Path(world.path("manifests"))
        self.directory.mkdir()
        self.log = open(world.path("grantd.log"), "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.process = None

    def write(self, name, text):
        """As editors do: beside, then in place."""
        beside = self.directory / ("." + name)
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.directory / (name + ".yaml"))

    def realms(self):
        self.write("realms", "---\n".join(
            f"apiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {{name: {name}}}\n"
            f"spec:\n  identity: {name}.example.net\n  addresses: [{', '.join(chr(34) + a + chr(34) for a in addresses)}]\n"
            for name, addresses in REALMS.items()))

    def grant(self, more=""):
        text = (
            "apiVersion: keystone.io/v1alpha1\nkind: Grant\n"
            "metadata: {name: alice-to-bob, namespace: keystone-system}\n"
            "spec:\n  grantorRealm: alice-home\n  granteeRealm: bob-home\n"
            f"  hard: {{keystone.io/egress-bandwidth: \"{LIMIT_BPS // 1_000_000}M\"}}\n"
            "  networkPolicy:\n    egressAllowed: true\n    allowedDestinations:\n"
            f"      - \"{DESTINATIONS[4]}:443/TCP\"\n      - \"[{DESTINATIONS[6]}]:443/TCP\"\n{more}")
        self.write("grant", text)
        return text

    def workload(self, guest):
        self.write("workload", (
            "apiVersion: keystone.io/v1alpha1\nkind: Workload\nmetadata: {name: bob-web}\n"
            f"spec: {{grantName: alice-to-bob, interface: {guest.interface}, "
            f"addresses: [\"{guest.addresses[4]}\", \"{guest.addresses[6]}\"]}}\n"))

    def start(self):
        self.process = self.world.spawn(
            self.world.node, str(AGENT / "grantd"), "run", "--manifests", str(self.directory),
            "--pin-root", self.world.pin_root, "--state-dir", self.world.path("state"), "--uplink", "uplink0=lan",
            "--uplink", "tail0=tailnet", "--listen", "none", "--trust-clock", stderr=self.log)
        eventually(lambda: "applied" in self.said(), 20, what="the first apply; grantd said: " + self.said())

    def said(self):
        return pathlib.Path(self.world.path("grantd.log")).read_text(encoding="utf-8")

    def ctl(self, *arguments):
        command = [str(AGENT / "grantctl"), "--pin-root", self.world.pin_root, *arguments]
        with self.world.node.entered():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).rstrip()

    def show(self, *arguments):
        print(paint("  $ grantctl " + " ".join(arguments), "2"))
        for line in self.ctl(*arguments).splitlines():
            say(line)
        pause(1.5)


def show_traffic(world, guest):
    destination, stranger = "destination", "stranger"
    title("What the Grant allows passes, what it does not name does not")
    space = guest.namespace
    for family in (4, 6):
        for party, port, expected, why in (
                ("grantee", 8080, True, "Bob's own realm"),
                (destination, 443, True, "named by the Grant"),
                (destination, 80, False, "named, but not this port"),
                ("carol", 443, False, "not named"),
                (stranger, 443, False, "not named")):
            address = PARTIES[party][family]
            outcome(f"guest -> {address} ({party}) port {port}", connects(space, address, port, family), expected, why)
    title("Only the parties to the Grant get in")
    for family in (4, 6):
        for party, expected, why in (("grantee", True, "Bob, who asked for the workload"),
                                     ("grantor", True, "Alice, who owns the node"),
                                     ("carol", False, "known, but no party"), ("stranger", False, "nobody")):
            client = world.outside.socket(FAMILY[family], socket.SOCK_STREAM, timeout=0.7)
            client.bind((PARTIES[party][family], 0))
            try:
                client.connect((guest.addresses[family], 8000))
                passes = True
            except OSError:
                passes = False
            client.close()
            outcome(f"{PARTIES[party][family]} ({party}) -> guest port 8000", passes, expected, why)


def show_limit(world, guest):
    title(f"The Grant's limit of {LIMIT_BPS // 1_000_000} Mbit/s holds for whatever the guest does")
    sink = world.outside.socket(socket.AF_INET, socket.SOCK_DGRAM, timeout=0.3)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    sink.bind((PARTIES["grantee"][4], 9000))
    source = guest.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.connect((PARTIES["grantee"][4], 9000))
    stop = threading.Event()
    sent = [0]

    def flood():
        payload = b"x" * 1400
        while not stop.is_set():
            try:
                sent[0] += source.send(payload) + 42  # with Ethernet, IP and UDP headers
            except OSError:
                pass
            if sent[0] % 50 == 0:
                time.sleep(0)

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()

    def receive_for(seconds):
        received, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            received += len(sink.recv(2048)) + 42
        return received

    receive_for(1.0)  # the burst is gone by then
    begin, before = time.monotonic(), sent[0]
    received = receive_for(3.0)
    seconds = time.monotonic() - begin
    stop.set()
    sender.join()
    offered, got = (sent[0] - before) * 8 / seconds / 1e6, received * 8 / seconds / 1e6
    say(f"offered {offered:8.1f} Mbit/s of UDP for {seconds:.0f} s")
    say(f"arrived {got:8.1f} Mbit/s, {got * 1e6 / LIMIT_BPS:.1%} of the limit")
    if not 0.9 < got * 1e6 / LIMIT_BPS < 1.02:
        surprises.append("the limit")
        say(paint("NOT AS EXPECTED", "31;1"))
    pause(1)


def open_connection(guest):
    connection = guest.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=3)
    connection.connect((PARTIES["destination"][4], 443))
    return connection


def show_expiry(node, guest):
    title("A Grant runs out under a live connection, with the agent killed")
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
    node.grant(f"  validity: {{validUntil: \"{until.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\"}}\n")
    eventually(lambda: "never" not in node.ctl("grants"), 3, what="the new validity in force")
    connection = open_connection(guest)
    outcome("live connection, before validUntil", alive(connection), True)
    node.process.kill()
    node.process.wait()
    say("grantd is killed; the kernel keeps the time")
    time.sleep(max(0.0, (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) + 0.05)
    outcome("the same connection, after validUntil", alive(connection), False, "expired")
    connection.close()
    node.grant()
    node.start()


def show_revocation(node, guest):
    title("Alice revokes the Grant under a live connection")
    eventually(lambda: connects(guest.namespace, PARTIES["destination"][4], 443, 4), 5, what="the Grant in force again")
    connection = open_connection(guest)
    outcome("live connection, before", alive(connection), True)
    begin = time.monotonic()
    node.grant("  revoked: true\n")
    eventually(lambda: "revoked" in node.ctl("grants").lower(), 3, what="the revocation in force")
    say(f"revoked: true written and in force within {(time.monotonic() - begin) * 1000:.0f} ms")
    outcome("the same connection, after", alive(connection), False, "revoked")
    outcome("a new connection", connects(guest.namespace, PARTIES["grantee"][4], 8080, 4), False, "revoked")
    connection.close()


def show(world):
    guest = world.add_guest("bob-web")
    for family in (4, 6):
        for party in ("grantee", "destination", "carol", "stranger"):
            for port in (80, 443, 8080):
                Server(world.outside, PARTIES[party][family], port, family)
        Server(guest.namespace, guest.addresses[family], 8000, family)
    node = Node(world)
    node.realms()
    grant = node.grant()
    node.workload(guest)
    title("Alice's node, Bob's guest, and the Grant between them")
    say("  guest bob-web --- veth --- node (grantd) --- outside: Bob's and Alice's realms, Carol, others")
    print()
    for line in grant.splitlines():
        say(paint(line, "36"))
    pause(2)
    node.start()
    show_traffic(world, guest)
    show_limit(world, guest)
    show_expiry(node, guest)
    show_revocation(node, guest)
    title("Every refused packet was counted, with its reason")
    node.show("drops")
    title("And why would a packet be dropped? The datapath itself answers")
    node.grant()
    eventually(lambda: connects(guest.namespace, PARTIES["destination"][4], 443, 4), 5, what="the Grant in force again")
    node.show("explain", "bob-web", f"{PARTIES['destination'][4]}:80/TCP")
    node.show("explain", "bob-web", f"{PARTIES['destination'][4]}:443/TCP")


def stop_at_signals():
    """The first signal ends the show, the others must not end the cleaning up behind it."""
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

    def stop(number, _):
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in signals:
        signal.signal(each, stop)


def main():
    stop_at_signals()
    with World() as world:
        show(world)
    print()
    if surprises:
        print(paint(f"{len(surprises)} things were not as expected: {', '.join(surprises)}", "31;1"))
        return 1
    print(paint("Everything was as it should be. Nothing is left behind.", "32"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
