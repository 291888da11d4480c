"""Each call of grantd-cni fails in turn, or ends it (class 3): what it asks of the kernel and of netlink, what netlink answers, files.
The binary is linked statically, so strace makes them fail. Before each ADD the guest is open, as a flood and who sniffs beside it
say; an ADD that says it is done has closed it both ways and recorded it, one that is not says so as the specification has it, and
the next one closes it. No call that fails later, of another ADD or of DEL, opens it again."""

import collections
import os
import re
import shutil

import pytest
from agent import Agent
from cni import Chain, Refused
from sniffing import Sniffer
from test_cni import records
from traffic import Numbered
from world import HAS_TCX, OUTSIDE, PARTIES, eventually

STRANGER = PARTIES["stranger"][4]
# What is asked of the kernel, and with which error it fails. Not what the C library does before main().
FAILS = {"bpf": "ENOMEM", "sendmsg": "ENOBUFS", "sendto": "ENOBUFS", "recvmsg": "ENOBUFS", "socket": "EMFILE", "bind": "ENOMEM",
         "getsockname": "ENOBUFS", "setsockopt": "ENOMEM", "openat": "EMFILE", "flock": "ENOLCK", "read": "EIO", "write": "ENOSPC",
         "fsync": "EIO", "rename": "EIO", "renameat2": "EIO", "mkdir": "ENOSPC", "mkdirat": "ENOSPC", "chmod": "EPERM", "fchmod": "EPERM",
         "fchmodat": "EPERM", "unlink": "EIO", "unlinkat": "EIO", "statfs": "EIO", "newfstatat": "EIO"}
# Where it is killed before a call too: what changes something, so that each state is met in which it can be left.
KILLED, KILLS = "killed", {"bpf", "sendto", "mkdir", "mkdirat", "openat", "write", "fsync", "rename", "renameat2", "unlink", "unlinkat"}
# Of these there are many alike: each so many of them fails, or with GRANTD_EVERY_CALL each one.
OFTEN, EVERY = {"recvmsg": 5, "setsockopt": 5, "bind": 3, "getsockname": 3, "mkdir": 3}, os.environ.get("GRANTD_EVERY_CALL") == "1"
MODES = pytest.mark.parametrize("attach", [
    pytest.param("tcx", marks=pytest.mark.skipif(not HAS_TCX, reason="no tcx before Linux 6.6")), "clsact", "auto"])


class Pod:
    """A guest behind Debian's plugin, and ours, which is called for it again and again."""

    def __init__(self, world, attach, log):
        self.world, self.log, self.happened, self.asked = world, log, 0, 0
        self.chain = Chain(world, ours=False, attach=attach)
        self.guest = self.chain.add("guest")
        self.agent = Agent(world)  # never runs: for `uninstall`
        self.floods = [Numbered(self.guest, world.outside, STRANGER),
                       Numbered(world.outside, self.guest, self.guest.addresses[4], port=7779)]
        self.sniffers = [Sniffer(world.outside, self.guest.addresses.values()), Sniffer(self.guest.namespace, [OUTSIDE[4]])]

    def __enter__(self):
        for each in self.floods:
            each.__enter__()
        return self

    def __exit__(self, *_):
        for each in self.floods:
            each.__exit__()

    # ---- our plugin ----

    def call(self, command, prefix=()):
        self.chain.prefix = list(prefix)
        return self.chain.ours(command, self.guest.namespace)

    def _traced(self, command, *options):
        """Its answer, and what strace wrote."""
        self.log.unlink(missing_ok=True)
        try:
            return self.call(command, ["strace", "-f", "-qq", *options, "-o", str(self.log)]), self.log.read_text(encoding="utf-8")
        except Refused as refused:
            return refused, self.log.read_text(encoding="utf-8")

    def turns(self, command, kinds, kills=KILLS):
        """The calls that it makes now, and the ways in which each is to go wrong."""
        done, calls = self._traced(command)
        assert not isinstance(done, Refused), done
        counts = collections.Counter(re.findall(r"^\d+ +(\w+)\(", calls, re.MULTILINE))
        assert counts["bpf" if command == "ADD" else "unlink"] > 0, calls
        return [(way, name, number) for name in kinds for number in range(1, 1 + counts[name], 1 if EVERY else OFTEN.get(name, 1))
                for way in [kinds[name], *([KILLED] if name in kills else [])]]

    def fails(self, command, way, name, number):
        """Whether it says that it is done. It says an error else, unless it was killed."""
        what = "signal=SIGKILL" if way == KILLED else f"error={way}"
        done, said = self._traced(command, "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={number}")
        happened = ("+++ killed by SIGKILL +++" if way == KILLED else "(INJECTED)") in said
        self.asked, self.happened = self.asked + 1, self.happened + happened
        if not isinstance(done, Refused):
            assert not (happened and way == KILLED)
            assert done == (self.chain.results[self.guest.namespace] if command == "ADD" else None), "done, and its result is not told"
            return True
        assert happened, f"nothing was made to fail: {done}"
        if way == KILLED:
            assert done.error == "", done
        elif not re.search(r"\bwrite\(1, .*\(INJECTED\)", said):  # what it cannot say, its exit code says
            assert isinstance(done.error, dict) and done.error["code"] > 0 and done.error["msg"].startswith("grantd-cni: "), done
            assert done.error["cniVersion"], done
        return False

    # ---- the guest ----

    def open_again(self):
        """As before the first ADD: nothing of it is left."""
        done = self.agent.uninstall()
        assert done.returncode == 0, done.stderr
        shutil.rmtree(self.world.path("records"), ignore_errors=True)
        for each in self.floods:
            each.anew()
            eventually(each.come, what="a flood that nothing holds")
        assert all(each.arrived() > 0 for each in self.sniffers), "who sniffs sees nothing"

    def is_closed(self):
        """Since the ADD that was just done; it is recorded, and the plugin itself finds it so."""
        for each in self.floods:
            each.anew()
        for each in self.sniffers:
            each.arrived()  # what was on its way
        assert [(each["containerID"], each["host"]["ifindex"]) for each in records(self.world)] == \
            [(self.guest.namespace.name, self.guest.number)]
        self.call("CHECK")
        self.stays_closed()

    def stays_closed(self):
        """Since it was found closed."""
        for flood, sniffer in zip(self.floods, self.sniffers):
            flood.send_more()
            assert flood.come() == [], "what is forbidden passed a guest that was closed"
            assert sniffer.arrived() == 0, f"a frame of a guest that was closed: {sniffer.frame.hex()}"


def left(pod):
    """In the directory of records."""
    return os.listdir(pod.world.path("records")) if os.path.isdir(pod.world.path("records")) else []


def judge(pod, at):
    assert pod.happened == pod.asked > 0, f"{at}: only {pod.happened} of {pod.asked} happened"


def kinds_of(attach):
    """And where it is killed. Where it chooses how to attach itself, what makes it think that the kernel has no tcx."""
    return ({"bpf": "EINVAL"}, ()) if attach == "auto" else (FAILS, KILLS)


@MODES
def test_an_add_of_which_a_call_fails(world, tmp_path, attach):
    with Pod(world, attach, tmp_path / "strace") as pod:
        pod.open_again()
        turns = pod.turns("ADD", *kinds_of(attach))
        failed = 0
        for turn in turns:
            pod.open_again()
            try:
                if pod.fails("ADD", *turn):
                    pod.is_closed()
                else:
                    failed += 1
                    if failed % 2:  # as a runtime does before it tries anew
                        pod.call("DEL")
                        assert left(pod) == []
                    assert pod.call("ADD") == pod.chain.results[pod.guest.namespace]
                    pod.is_closed()
                pod.call("ADD")
                pod.stays_closed()
            except (AssertionError, ValueError) as error:
                raise AssertionError(f"{turn}: {error}") from error
        assert failed > len(turns) / 4
        judge(pod, f"an ADD, {attach}")
        pod.open_again()


@MODES
def test_a_guest_that_is_closed_stays_so_whichever_call_fails(world, tmp_path, attach):
    """Of an ADD that finds it closed, and of DEL."""
    with Pod(world, attach, tmp_path / "strace") as pod:
        pod.open_again()
        pod.call("ADD")
        pod.is_closed()
        for command in ("ADD", "DEL"):
            of_del = {name: FAILS[name] for name in ("read", "unlink", "unlinkat")}
            turns = pod.turns(command, *(kinds_of(attach) if command == "ADD" else [of_del]))
            pod.call("ADD")
            for turn in turns:
                try:
                    done = pod.fails(command, *turn)
                    if command == "DEL":
                        assert not done or left(pod) == []
                        pod.call("ADD")
                    pod.stays_closed()
                except (AssertionError, ValueError) as error:
                    raise AssertionError(f"{command} {turn}: {error}") from error
        pod.call("CHECK")
        judge(pod, f"an ADD of who is closed, and DEL, {attach}")
        pod.open_again()
