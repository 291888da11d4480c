"""Datagrams of many pods at once, each pod's told apart by what is in them, also where an address is in use again; and
who hears them outside."""

import collections
import contextlib
import socket
import struct
import subprocess
import threading
import time

from network_namespace import entered

from cluster import run

PORT = 9
EVERY_SECONDS = 0.01
MARK = b"grantd"


def know_gateway(inside, address, mac):
    """Who is closed is not answered; what waits for an answer is judged by no program, and its silence shows nothing.
    `inside`: how to run something in the pod's network."""
    run([*inside, "ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent"])


@contextlib.contextmanager
def sending(inside, address):
    """From a pod's network, as `know_gateway` has it, without end as much as it takes."""
    code = f"""
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        one.sendto(b"x" * 1400, ("{address}", {PORT}))
    except OSError:
        pass
"""
    with subprocess.Popen([*inside, "/usr/bin/python3", "-c", code]) as sender:
        try:
            yield
        finally:
            sender.kill()


class Background:
    """Does `_run` in a thread of its own while it is entered, until `ending` is set."""

    def __init__(self):
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        raise NotImplementedError

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


class Flood(Background):
    """Everybody in it sends to each destination without end, and counts what comes from elsewhere: {number: datagrams}."""

    def __init__(self, *destinations):
        super().__init__()
        self.destinations, self.sockets, self.lock = destinations, {}, threading.Lock()
        self.came = collections.Counter()

    def __exit__(self, *_):
        super().__exit__()
        for each in list(self.sockets):
            self.drop(each)

    def join(self, number, netns):
        with entered(netns):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        sender.bind(("", PORT))
        with self.lock:
            self.sockets[number] = sender

    def drop(self, number):
        with self.lock:
            self.sockets.pop(number).close()

    def _run(self):
        while not self.ending.wait(EVERY_SECONDS):
            with self.lock:
                for number, sender in self.sockets.items():
                    for destination in self.destinations:
                        # Without an address yet, refused by a cgroup program, or its ARP unanswered.
                        with contextlib.suppress(OSError):
                            sender.sendto(MARK + struct.pack("!I", number), (destination, PORT))
                    with contextlib.suppress(BlockingIOError):
                        while sender.recv(64):
                            self.came[number] += 1


class Inwards(Background):
    """Somebody at an address of a network namespace sends to all that are in it without end."""

    def __init__(self, netns, address):
        super().__init__()
        self.addresses = {}  # by number of the pod
        with entered(netns):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.setblocking(False)

    def __exit__(self, *_):
        super().__exit__()
        self.socket.close()

    def _run(self):
        while not self.ending.wait(EVERY_SECONDS):
            for address in list(self.addresses.values()):
                with contextlib.suppress(OSError):  # nobody has it any more
                    self.socket.sendto(MARK, (address, PORT))


class Ears(Background):
    """Counts what comes to a network namespace: {(number of the sender, destination): datagrams}."""

    def __init__(self, netns):
        super().__init__()
        self.heard = collections.Counter()
        with entered(netns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.settimeout(0.1)

    def __exit__(self, *_):
        super().__exit__()
        self.socket.close()

    def _run(self):
        while not self.ending.is_set():
            with contextlib.suppress(TimeoutError):
                packet, address = self.socket.recvfrom(2048)
                if address[2] == socket.PACKET_OUTGOING or packet[9] != socket.IPPROTO_UDP:
                    continue
                payload = packet[(packet[0] & 15) * 4 + 8:]
                if payload.startswith(MARK):
                    number, = struct.unpack_from("!I", payload, len(MARK))
                    self.heard[number, socket.inet_ntoa(packet[16:20])] += 1

    def wait_more(self, number, destination, seconds=15):
        """Waits for a datagram that comes from now on."""
        before, end = self.heard[number, destination], time.monotonic() + seconds
        while self.heard[number, destination] == before:
            assert time.monotonic() < end, f"nothing of {number} to {destination} within {seconds} s"
            time.sleep(0.002)
