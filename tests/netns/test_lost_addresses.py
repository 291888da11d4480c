"""A realm that loses an address loses its flows, whatever happens to the Grant and to the agent meanwhile (rule 3)."""

import contextlib
import datetime
import os

import pytest
from agent import OPEN
from traffic import TcpPair, UdpPair
from world import PARTIES, REALMS, TAILNET_GRANTEE, eventually

GRANTEE, GRANTOR = PARTIES["grantee"][4], PARTIES["grantor"][4]
CALLS = 24  # of bpf(), and more than one such apply makes


def without(realm):
    """Its prefixes but those of 192.0.2.0/24."""
    return [each for each in REALMS[realm] if not each.startswith("192.0.2.")]


WITHOUT = without("bob-home")


def ingress(*parties, destinations=OPEN):
    return {"networkPolicy": {"egressAllowed": True, "allowedDestinations": destinations, "ingress": {"from": list(parties)}}}


def begun_by(node, peer):
    """Flows of the peer, which the guest has answered."""
    to = node.guest.addresses[4]
    made = [UdpPair(node.world.outside, node.guest, 4, to=to, source_address=peer),
            TcpPair(node.world.outside, node.guest, 4, to=to, source_address=peer)]
    assert all(flow.both() for flow in made)
    return made


def silent(flows):
    return not any(flow.backward(0.2) for flow in flows for _ in range(2))


def loses(agent, realm):
    """A realm that loses the prefixes of 192.0.2.0/24; the kernel has them no more."""
    def prefixes():
        return agent.json("status")["maps"]["grantd_identity"]["entries"]
    before = prefixes()
    agent.realm(realm, without(realm))
    eventually(lambda: prefixes() < before, every=0.005, what="fewer prefixes")


@pytest.mark.parametrize("away", ["grant", "realm"])
def test_while_its_grant_is_away(node, away):
    agent, flows = node.agent, begun_by(node, GRANTEE)
    if away == "grant":
        agent.in_force(lambda: agent.remove("grant-g"))
        loses(agent, "bob-home")
        agent.grant()
    else:
        agent.in_force(lambda: agent.remove("realm-bob-home"))
        agent.realm("bob-home", WITHOUT)
    eventually(agent.policy, what="the Grant in force again")
    assert UdpPair(node.guest, node.world.tailnet, 4, to=TAILNET_GRANTEE[4]).both(), "the realm is reached elsewhere"
    assert silent(flows)


@pytest.mark.parametrize("lost", [True, False])
def test_while_its_grant_does_not_name_it(node, lost):
    agent, flows = node.agent, begun_by(node, GRANTOR)
    agent.in_force(lambda: agent.grant(**ingress("Grantee")))
    assert silent(flows)
    if lost:
        loses(agent, "alice-home")
    agent.in_force(lambda: agent.grant(**ingress("Grantee", "Grantor")))
    if lost:
        assert silent(flows)
    else:
        assert all(flow.both() for flow in flows), "they go on when the peer speaks again"


@pytest.mark.parametrize("who", ["guest", "realm"])
def test_flows_of_others_wait_for_nobody(node, who):
    """What the guest sends on a connection that is quiet otherwise arrives, whoever else of its Grant goes or loses an address."""
    world, agent = node.world, node.agent
    sibling = world.add_guest("sibling")
    agent.workload(sibling)
    eventually(lambda: agent.has_active("sibling"), what="the sibling")
    flows, of_loser = begun_by(node, GRANTEE), begun_by(node, GRANTOR)
    if who == "guest":
        before = agent.policy()
        agent.remove("workload-sibling")
        eventually(lambda: agent.policy() != before, what="another number of the Grant's guests")
    else:
        agent.in_force(lambda: loses(agent, "alice-home"))
        assert silent(of_loser)
    assert all(flow.backward() for flow in flows)


def tried_again(agent):
    """Each apply is said once, with what failed of it right before. What failed, so that flows may not be in doubt yet, is tried
    again a second later."""
    def last(what):
        return max((datetime.datetime.fromisoformat(line[:23]) for line in agent.said().splitlines() if what in line), default=None)
    failed = last("a step failed")
    return not failed or last(" applied ") > failed + datetime.timedelta(seconds=0.5)


def refused(agent, pair):
    before = agent.drops("destination")
    return not pair.forward(0.1) and agent.drops("destination") > before


@pytest.mark.parametrize("cut", ["signal=KILL", "error=ENOMEM"])
def test_in_an_apply_that_is_cut_short(node, tmp_path, cut):
    """At every second call of bpf(), killed at some and failed at the others (each, with GRANTD_EVERY_CALL): the agent is killed
    there and starts again, or the call fails and it goes on. Then the next packet is refused; of a call that fails, from when it
    has been tried again."""
    agent, log = node.agent, tmp_path / "strace"
    reached = 0
    first, step = (1, 1) if os.environ.get("GRANTD_EVERY_CALL") == "1" else (2 if cut == "error=ENOMEM" else 1, 2)
    for call in range(first, CALLS + 1, step):
        agent.realm("bob-home", REALMS["bob-home"])
        eventually(lambda: UdpPair(node.guest, node.world.outside, 4, to=GRANTEE).both(), what="the realm as it was")
        flows = begun_by(node, GRANTEE)[:1]
        log.unlink(missing_ok=True)
        tracer = node.world.spawn(node.world.node, "strace", "-f", "-qq", "-p", str(agent.process.pid), "-e", "trace=bpf", "-e",
                                  f"inject=bpf:{cut}:when={call}", "-o", str(log))
        eventually(lambda: "TracerPid:\t0\n" not in open(f"/proc/{agent.process.pid}/status", encoding="ascii").read(),  # pylint: disable=consider-using-with
                   what="a traced agent")
        agent.realm("bob-home", WITHOUT)
        def is_cut():
            return agent.process.poll() is not None or "INJECTED" in log.read_text()
        with contextlib.suppress(AssertionError):
            eventually(is_cut, 5, what="the cut")
        done = is_cut()
        reached += done
        if agent.process.poll() is not None:
            tracer.wait(10)
            agent.start()
        else:
            tracer.terminate()
            tracer.wait(10)
        eventually(lambda: refused(agent, UdpPair(node.guest, node.world.outside, 4, to=GRANTEE)), what="the loss in force")
        eventually(lambda: tried_again(agent), what="what failed tried again")
        assert silent(flows), f"after a cut at call {call}"
        if not done:
            break
    assert reached > 2
