"""grantctl verify: what is in force beside what the manifests say, field by field, with an agent and without."""

import json
import os
import signal
import sys

import pytest
from agent import OPEN, manifest
from queues import classes, links
from test_cgroups import lives_in
from test_gate import delete_tables, tables
from world import CGROUPS, PARTIES, eventually, run

LIMITED = {"hard": {"keystone.io/egress-bandwidth": "16M"}, "validity": {"validUntil": "2100-01-01T00:00:00Z"}}
# offsets in the records of maps/abi
POLICY = {"not_before_ns": 0, "not_after_ns": 8, "slot": 28, "end_reason": 36, "identity": 40, "grantor_identity": 44,
          "grantee_identity": 48, "limit of egress, rate_bps": 56, "limit of egress, burst_bytes": 64,
          "limit of egress, cost_per_byte": 72, "limit of egress, burst_ns": 80, "limit of egress, quantum_bytes": 88,
          "limit of ingress, rate_bps": 96}
ENDPOINT = {"its Grant": 16, "flags": 20, "mac": 24, "addresses": 32, "link_local": 112, "gateway": 128}
RANGE = {"protocol": 8, "source": 10, "low": 12, "high": 14}


@pytest.fixture(name="alone")
def without_an_agent(node):
    """It would mend what it did not write."""
    node.agent.in_force(lambda: node.agent.grant(**LIMITED))
    eventually(lambda: verify(node)[0] == 0, what="all as it should be")
    node.agent.kill()
    assert verify(node) == (0, []), "nor without an agent"
    return node


def verify(node, *options):
    done = node.agent.ctl("--output", "json", "verify", *options)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["wrong"]


def entries(node, name):
    """Of a map: keys and values in bytes."""
    dumped = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{node.world.pin_root}/maps/grantd_{name}_v1"))
    return [tuple(bytes(int(byte, 16) for byte in each[part]) for part in ("key", "value")) for each in dumped]


def put(node, name, key, value):
    run("bpftool", "map", "update", "pinned", f"{node.world.pin_root}/maps/grantd_{name}_v1", "key", "hex", *key.hex(" ").split(),
        "value", "hex", *value.hex(" ").split())


def take(node, name, key):
    run("bpftool", "map", "delete", "pinned", f"{node.world.pin_root}/maps/grantd_{name}_v1", "key", "hex", *key.hex(" ").split())


def is_found(node, *words):
    code, wrong = verify(node)
    assert code == 1 and any(all(word in line for word in words) for line in wrong), wrong


def spoiled(value, offset):
    return value[:offset] + bytes([value[offset] ^ 1]) + value[offset + 1:]


def each_is_found(node, name, key, value, fields, *whose):
    """Each field by itself; and all is well when it is as it was."""
    for field, offset in fields.items():
        put(node, name, key, spoiled(value, offset))
        is_found(node, field, *whose)
        put(node, name, key, value)
    assert verify(node) == (0, [])


def test_each_field_of_a_policy(alone):
    policies = dict(entries(alone, "policy"))
    in_force = next(value for _, value in entries(alone, "grant") if any(value))
    each_is_found(alone, "policy", in_force, policies[in_force], POLICY, "Grant keystone-system/g", "by the manifests")


def test_each_field_of_a_guest(alone):
    (key, value), = entries(alone, "endpoint")
    each_is_found(alone, "endpoint", key, value, ENDPOINT, "guest web", "by the manifests")
    take(alone, "endpoint", key)
    is_found(alone, "guest web", "has no record")


@pytest.mark.parametrize("name", ["rule", "idrule"])
def test_each_field_of_a_rule(alone, name):
    used = next(int.from_bytes(policy[24:28], "little") for _, policy in entries(alone, "policy"))
    at = 4 if name == "rule" else 0  # of rules_id
    rules = [(key, value) for key, value in entries(alone, name) if int.from_bytes(key[at:at + 4], "little") == used and value[0]]
    assert rules
    for key, value in rules:
        for offset in RANGE.values():
            put(alone, name, key, spoiled(value, offset))
            is_found(alone, "Grant keystone-system/g", "the rule for", "by the manifests")
        put(alone, name, key, value)
    take(alone, name, rules[0][0])
    is_found(alone, "Grant keystone-system/g", "the rule for", "is not there")
    put(alone, name, *rules[0])
    more = bytearray(rules[0][0])
    more[-1 if name == "rule" else 4] = 0x77
    if name == "rule":
        more[:4] = (64 + 128).to_bytes(4, "little")
    put(alone, name, bytes(more), rules[0][1])
    is_found(alone, "Grant keystone-system/g", "the rule for", "there is none")


def test_addresses_and_uplinks(alone):
    for key, value in entries(alone, "identity"):
        put(alone, "identity", key, spoiled(value, 0))
        is_found(alone, "addresses: ", "by the manifests")
        put(alone, "identity", key, value)
    (key, value), *_ = entries(alone, "identity")
    take(alone, "identity", key)
    is_found(alone, "addresses: ", "is not there")
    put(alone, "identity", key, value)
    for key, value in entries(alone, "uplink"):
        for offset in (4, 5):
            put(alone, "uplink", key, spoiled(value, offset))
            is_found(alone, "uplink")
        put(alone, "uplink", key, value)
    assert verify(alone) == (0, [])


def test_what_is_in_force_and_nobody_says(alone):
    slot = next(key for key, value in entries(alone, "grant") if any(value))
    value = dict(entries(alone, "grant"))[slot]
    put(alone, "grant", slot, bytes(8))
    is_found(alone, "Grant keystone-system/g", "is not in force; by the manifests it is")
    put(alone, "grant", slot, value)
    alone.agent.remove("grant-g")
    is_found(alone, "Grant keystone-system/g", "is in force; by the manifests there is no such Grant")
    alone.agent.grant(**LIMITED)
    alone.agent.remove("workload-web")
    is_found(alone, "is under Grant keystone-system/g; by the manifests there is no guest")


def test_manifests_that_changed_while_no_agent_ran(alone):
    agent = alone.agent
    agent.grant(destinations=[*OPEN, f"{PARTIES['stranger'][4]}:80/TCP"], **LIMITED)
    is_found(alone, f"the rule for {PARTIES['stranger'][4]}/32 is not there; by the manifests 80/TCP")
    agent.grant(revoked=True, **LIMITED)
    is_found(alone, "end_reason is expired; by the manifests revoked")
    agent.grant(destinations=["nonsense"], **LIMITED)
    is_found(alone, "Grant keystone-system/g", "is refused, and an older version in force", "nonsense")
    agent.start()
    eventually(lambda: "nonsense" in agent.said(), what="the refusal")
    is_found(alone, "Grant keystone-system/g", "is refused, and an older version in force", "nonsense")
    agent.grant(revoked=True, **LIMITED)
    eventually(lambda: verify(alone) == (0, []), 10, what=lambda: f"as the manifests say: {verify(alone)}")


def test_what_it_was_told_counts_and_what_it_was_not(node, tmp_path):
    """The manifests of an API server are where the administrator puts them; guests are then none of them."""
    settings = node.agent.settings()
    with open(settings, encoding="utf-8") as file:
        told = json.load(file)
    assert told["manifests"] == str(node.agent.directory)
    node.agent.kill()
    with open(settings, "w", encoding="utf-8") as file:
        json.dump({**told, "manifests": ""}, file)
    said = node.agent.ctl("verify")
    assert said.returncode == 0 and "Not compared with manifests: the API server has them" in said.stdout, said.stdout
    for path in node.agent.directory.glob("[rg]*.yaml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    said = node.agent.ctl("verify", "--manifests", str(tmp_path))
    assert "1 guest, " not in said.stdout.splitlines()[-1] and str(tmp_path) in said.stdout, said.stdout + said.stderr
    (tmp_path / "elsewhere.yaml").write_text(manifest("Grant", "elsewhere", {
        "grantorRealm": "alice-home", "granteeRealm": "bob-home", "networkPolicy": {"egressAllowed": False}}, "keystone-system"), encoding="utf-8")
    assert verify(node, "--manifests", str(tmp_path)) == (0, []), "a Grant that governs nobody here is not missed"
    with open(settings, "w", encoding="utf-8") as file:
        file.write("{")
    broken = node.agent.ctl("verify")
    assert broken.returncode == 3 and "settings.json: is damaged" in broken.stderr
    assert node.agent.ctl("verify", "--manifests", "/nowhere").returncode == 2


def test_the_queues(alone):
    """Each class and its queue, who waits in it, and where what has waited comes back."""
    tc, (queue, release) = alone.world.node.run, links(alone)
    guest, of_grant = sorted((line.split()[2] for line in classes(alone)), key=len, reverse=True)
    for handle, whose in ((guest, "guest web"), (of_grant, "Grant keystone-system/g")):
        parent = ["parent", of_grant if handle == guest else "1:"]
        tc("tc", "class", "change", "dev", queue, *parent, "classid", handle, "htb", "rate", "2mbit", "ceil", "2mbit")
        is_found(alone, whose, f"queue class {handle} of egress", "rate_bytes is 250000")
    alone.agent.start()
    eventually(lambda: verify(alone) == (0, []), what="mended")
    alone.agent.kill()
    tc("tc", "qdisc", "change", "dev", queue, "parent", guest, "bfifo", "limit", "10000")
    is_found(alone, "guest web", "queue_bytes is 10000")
    (key, value), = entries(alone, "queue")
    take(alone, "queue", key)
    is_found(alone, "guest web", "egress does not wait; by the limit in force it does")
    put(alone, "queue", key, value)
    (key, value), = entries(alone, "device")
    take(alone, "device", key)
    is_found(alone, "guest web", "may not come back")
    run("rm", f"{alone.world.pin_root}/links/from_queue-{alone.world.node.interface_index(release)}")
    is_found(alone, "queues: from_queue is not the first program")
    tc("ip", "link", "del", queue)
    is_found(alone, "queues: are not there")
    alone.agent.start()
    assert eventually(lambda: verify(alone) == (0, []), what="mended at the start")


def test_a_table_that_is_another_grants(node):
    """What one Grant remembers and counts would stand in another's table: told of, and mended at the start and while it runs."""
    agent, other, pin_root = node.agent, node.world.add_guest("other"), node.world.pin_root
    agent.grant("other")
    agent.workload(other, "other")
    eventually(lambda: agent.has_active("other"), what="the guest of another Grant")
    slots = {each["grant"]: each["slot"] for each in agent.json("grants")["grants"]}

    def take_the_others(name):
        run("bpftool", "map", "update", "pinned", f"{pin_root}/maps/grantd_{name}_v1", "key", "hex",
            *slots["keystone-system/g"].to_bytes(4, sys.byteorder).hex(" ").split(), "value", "pinned",
            f"{pin_root}/maps/tables/grantd_{name}_{slots['keystone-system/other']}")

    agent.kill()
    for name in ("counter", "flow", "frag"):
        take_the_others(name)
        is_found(node, "Grant keystone-system/g", f"its table in grantd_{name} is not the one")
    agent.start()
    eventually(lambda: verify(node) == (0, []), what=lambda: f"mended at the start: {verify(node)}")
    before = len(agent.said())
    take_the_others("flow")
    agent.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the kernel is not as it was left" in agent.said()[before:], what="a word of it")
    assert eventually(lambda: verify(node) == (0, []), what=lambda: f"mended: {verify(node)}")


def test_a_program_that_is_gone(node):
    said = f"What is in force is what {node.agent.directory} says: 1 Grant with"
    eventually(lambda: said in node.agent.ctl("verify").stdout, what=lambda: node.agent.ctl("verify").stdout)
    node.agent.kill()
    index = node.world.node.interface_index(node.guest.interface)
    run("rm", f"{node.world.pin_root}/links/to_guest-{index}")
    is_found(node, "to_guest")
    node.agent.start()
    assert eventually(lambda: verify(node)[0] == 0, what="mended at the start")


@pytest.mark.parametrize("on_the_host_network", [False, True])
def test_programs_of_a_cgroup(node, on_the_host_network):
    cgroup = node.world.cgroup("host" if on_the_host_network else "web")
    if on_the_host_network:
        node.agent.host_workload(cgroup)
    else:
        lives_in(node, cgroup)
    links_of_it = f"{node.world.pin_root}/links"
    hooks = ["guest_connect4", "guest_connect6"] + ["guest_skb_egress", "guest_skb_ingress"] * on_the_host_network
    number = os.stat(cgroup).st_ino
    assert cgroup.startswith(CGROUPS)
    node.agent.settings()
    eventually(lambda: all(os.path.exists(f"{links_of_it}/{hook}-{number}") for hook in hooks), what=lambda: os.listdir(links_of_it))
    eventually(lambda: verify(node) == (0, []), what=lambda: verify(node))
    node.agent.kill()
    for hook in hooks:
        run("rm", f"{links_of_it}/{hook}-{number}")
        is_found(node, "guest host" if on_the_host_network else "guest web", f"{hook} is not on its cgroup")
    node.agent.start()
    assert eventually(lambda: verify(node) == (0, []), what="mended at the start")


def test_the_gate(node):
    """Whom it holds, and that it is what it was made as."""
    node.agent.settings()
    eventually(lambda: verify(node) == (0, []), what=lambda: verify(node))
    node.agent.kill()
    names, nft = dict(tables(node.world)), lambda *change: node.world.node.run("nft", *change)
    for family in names:
        nft("flush", "set", family, names[family], "guests")
    is_found(node, "guest web", f"{node.guest.interface} is not in the gate")
    nft("insert", "rule", "bridge", names["bridge"], "unjudged", "accept")
    is_found(node, "gate: its nftables are not there, or changed")
    delete_tables(node.world)
    is_found(node, "gate: its nftables are not there, or changed")
    node.agent.start()
    assert eventually(lambda: verify(node) == (0, []), what="mended at the start")
