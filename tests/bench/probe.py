"""Tells by packets which of two policies a guest is under: two datagrams, and which of them arrives."""

import contextlib
import ipaddress
import pathlib
import socket
import sys
import time

from world import DESTINATIONS, BenchError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "common"))

import network_namespace  # noqa: E402  pylint: disable=wrong-import-position

PORTS = (9000, 9001)
PROBED = str(ipaddress.ip_network(DESTINATIONS)[1])
EVERY_SECONDS = 0.0002
# A datagram that a busy machine delivers late looks like a dropped one; three in a row do not.
IN_A_ROW = 3


def entered(netns):
    """The calling thread is in the network namespace of that name."""
    return network_namespace.entered(f"/run/netns/{netns}")


class Probe:
    """From the measured guest of a world to both PORTS of the destination. `receivers`: those of another probe, which
    does not send at the same time."""

    def __init__(self, world, receivers=None):
        self.number = 0
        self.senders, self.receivers = [], receivers or [self._receiver(world, port) for port in PORTS]
        for port in PORTS:
            with entered(world.netns["guest"]):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sender.bind((world.measured.address, 0))
                sender.connect((PROBED, port))
                self.senders.append(sender)

    @staticmethod
    def _receiver(world, port):
        with entered(world.netns["peer"]):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((PROBED, port))
        receiver.setblocking(False)
        return receiver

    def _arrives(self, sender, receiver):
        self.number += 1
        payload = self.number.to_bytes(8, "big")
        sender.send(payload)
        with contextlib.suppress(BlockingIOError):
            while True:
                if receiver.recv(64) == payload:
                    return True
        return False

    def verdicts(self):
        """(first port, second port): whether a datagram arrives. A veth delivers before send() returns."""
        return tuple(self._arrives(*ends) for ends in zip(self.senders, self.receivers))

    def wait(self, wanted, seconds=60.0):
        """When the first of the datagrams was sent that had these verdicts, and kept them."""
        end = time.monotonic() + seconds
        in_a_row, first = 0, 0.0
        while in_a_row < IN_A_ROW:
            sent = time.monotonic()
            if sent > end:
                raise BenchError(f"the policy did not come into force: {self.verdicts()} instead of {wanted}")
            if self.verdicts() == wanted:
                first = first if in_a_row else sent
                in_a_row += 1
            else:
                in_a_row = 0
            time.sleep(EVERY_SECONDS)
        return first
