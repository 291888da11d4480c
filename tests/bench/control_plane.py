"""What a change costs until it is in force, what a start costs, and the memory that the agent takes."""

import contextlib
import statistics
import time

from grantd import REALMS, Agent, grant, grants, workload
from probe import PORTS, Probe
from report import Spread, table, target
from world import DESTINATIONS, World, filler_prefixes, in_netns, run

GUESTS, CHANGED_GRANTS, MANY_GRANTS, PREFIXES = 100, 100, 1000, 10_000
SETTLED_SECONDS = 1.5  # what a change leaves behind is retired after a second
BETWEEN_EDITS_SECONDS = 0.3  # an editor saves again no sooner: what one leaves is done before the next
AT_REST_SECONDS = 32  # the agent has looked at the kernel once more
FIRST, SECOND = (True, False), (False, True)  # what the probe sees where the guest may reach one of PORTS
OPEN = (True, True)
MILLISECOND = 1000.0


def verdict_of(at):
    return SECOND if at % 2 else FIRST


def policy(count, at, guests):
    return list(grants(count, PORTS[at % 2], guests))


@contextlib.contextmanager
def running(world):
    """An agent of the world; open again afterwards."""
    agent = Agent(world)
    agent.prepare("realms.yaml", REALMS)
    agent.put("realms.yaml")
    try:
        yield agent
    finally:
        agent.uninstall()


def change_of_grants(world, rounds):
    """Milliseconds: by the agent's own clock, after the files were read; and from rename() to the first packet that is
    judged by the new policy, with reading."""
    probe, taken, seen = Probe(world), [], []
    guests = [world.measured, *(each for each in world.all_guests if each != world.measured)][:CHANGED_GRANTS]
    with running(world) as agent:
        for at in range(rounds + 1):
            agent.prepare("grants.yaml", policy(CHANGED_GRANTS, at, guests))
            before = len(agent.applied())
            moment = agent.put("grants.yaml") if at else agent.put_and_start("grants.yaml")
            first = probe.wait(verdict_of(at))
            change = agent.wait_applied(before)
            if not at:  # each guest takes a while to be attached, and changes of then are changes beside that
                agent.wait_until_nobody_waits()
            else:
                taken.append(change["in_force"])
                seen.append((first - moment) * MILLISECOND)
    return {"after_reading_ms": Spread(taken), "rename_to_packet_ms": Spread(seen)}


def prefixes_of(at):
    """Others in each round, so that all of them are new."""
    return filler_prefixes((at + 1) * PREFIXES)[at * PREFIXES:]


def ipset_restore(world, name, prefixes):
    text = "\n".join([f"create {name} hash:net family inet hashsize 1024 maxelem 65536",
                      *(f"add {name} {prefix}" for prefix in prefixes)]) + "\n"
    begin = time.monotonic()
    run(in_netns(world.netns["node"], ["ipset", "restore"]), text)
    return (time.monotonic() - begin) * MILLISECOND


def many_prefixes(world, rounds):
    """One Grant with as many prefixes as a set of ipset, each new; in turn with `ipset restore` of the same."""
    taken, with_reading, ipset = [], [], []
    own = f"{DESTINATIONS}:{PORTS[0]}/UDP"
    with running(world) as agent:
        agent.prepare("grants.yaml", [grant("g", [own]), workload(world.measured, "g")])
        agent.put_and_start("grants.yaml")
        agent.wait_applied()
        for at in range(rounds):
            prefixes = prefixes_of(at)
            agent.prepare("grants.yaml", [grant("g", [own, *(f"{each}:443/TCP" for each in prefixes)]),
                                          workload(world.measured, "g")])
            before = len(agent.applied())
            agent.put("grants.yaml")
            change = agent.wait_applied(before)
            taken.append(change["in_force"])
            with_reading.append(change["in_force"] + change["reading_before"])
            ipset.append(ipset_restore(world, f"bench{at}", prefixes))
            time.sleep(SETTLED_SECONDS)
    return {"after_reading_ms": Spread(taken), "with_reading_ms": Spread(with_reading), "ipset_restore_ms": Spread(ipset),
            "ratio": Spread([ours / theirs for ours, theirs in zip(taken, ipset)]),
            "ratio_with_reading": Spread([ours / theirs for ours, theirs in zip(with_reading, ipset)])}


def starts(world, count, rounds):
    """Milliseconds from the start of the process to the first packet that it refuses: with no pins, where everything
    passed before; and with those of a killed agent, under another policy that was written meanwhile."""
    probe, cold, warm, memory = Probe(world), [], [], {}
    guests = [world.measured, *(each for each in world.all_guests if each != world.measured)]
    for _ in range(rounds):
        with running(world) as agent:
            agent.prepare("grants.yaml", policy(count, 0, guests))
            agent.put("grants.yaml")
            probe.wait(OPEN)
            moment = agent.start()
            cold.append((probe.wait(FIRST) - moment) * MILLISECOND)
            agent.wait_applied()
            if not memory:
                time.sleep(SETTLED_SECONDS)
                after_start = agent.memory_kib()
                agent.scrape()
                time.sleep(AT_REST_SECONDS)
                agent.scrape()
                at_rest = agent.memory_kib()
                kernel = agent.map_kib()
                memory = {"highest": at_rest["VmHWM"], "after the start": after_start["VmRSS"],
                          "at rest": at_rest["VmRSS"], "at rest, pages of files": at_rest["RssFile"],
                          **{f"in the kernel: {name}": kib for name, kib in kernel.items()}}
            agent.kill()
            agent.prepare("grants.yaml", policy(count, 1, guests))
            agent.put("grants.yaml")
            moment = agent.start()
            warm.append((probe.wait(SECOND) - moment) * MILLISECOND)
    return {"without_pins_ms": Spread(cold), "with_pins_ms": Spread(warm), "memory_kib": memory}


def edits(world, count, beside=0):
    """Milliseconds from rename() to the first packet under the new policy, of one Grant in one file; `beside` so many
    Grants in another file."""
    probe, seen = Probe(world), []
    with running(world) as agent:
        others = (text.replace('"g-', '"beside-') for text in grants(beside, PORTS[0], []))
        agent.prepare("beside.yaml", others)
        agent.put("beside.yaml")
        for at in range(count + 1):
            agent.prepare("grants.yaml", policy(1, at, [world.measured]))
            moment = agent.put("grants.yaml") if at else agent.put_and_start("grants.yaml")
            first = probe.wait(verdict_of(at))
            if at:
                seen.append((first - moment) * MILLISECOND)
            if beside:
                time.sleep(BETWEEN_EDITS_SECONDS)
    seen.sort()
    return {"count": count, "p50": statistics.median(seen), "p99": seen[min(len(seen) - 1, len(seen) * 99 // 100)],
            "max": seen[-1]}


def measure_control_plane(quick):
    world, small = World("control plane", guests=GUESTS), World("control plane small")
    for each in (world, small):
        each.build()
    rounds = 3 if quick else 15
    return {
        "change_100_grants": change_of_grants(world, rounds),
        "prefixes_10000": many_prefixes(small, 2 if quick else 9),
        "start_1_grant": starts(small, 1, 1 if quick else 7),
        "start_1000_grants": starts(small, MANY_GRANTS, 1 if quick else 7),
        "start_100_guests": starts(world, MANY_GRANTS, 1 if quick else 3),
        "edit": edits(small, 10 if quick else 200),
        "edit_beside_1000": edits(small, 5 if quick else 100, MANY_GRANTS - 1),
    }


def control_plane_targets(figures):
    one, many = figures["start_1_grant"], figures["start_1000_grants"]
    mebibytes = figures["start_100_guests"]["memory_kib"]["at rest"] / 1024
    edit, beside = figures["edit"], figures["edit_beside_1000"]
    return [
        target("change of 100 Grants in force after the files are read, ms",
               figures["change_100_grants"]["after_reading_ms"], 20),
        target("10,000 prefixes in force / ipset restore of the same", figures["prefixes_10000"]["ratio"], 0.6),
        target("memory of the agent at rest with 1,000 Grants and 100 guests, MiB", Spread([mebibytes]), 30),
        target("start to enforcing with 1 Grant, ms", one["without_pins_ms"], 500),
        target("start to enforcing with 1,000 Grants, ms", many["without_pins_ms"], 500),
        target("start to enforcing with 1,000 Grants and 100 guests, ms", figures["start_100_guests"]["without_pins_ms"],
               500),
        target("edit of a manifest in force, 99 of 100, ms",
               {"median": edit["p99"], "min": edit["p50"], "max": edit["max"]}, 100),
        target("the same beside 999 other Grants, ms",
               {"median": beside["p99"], "min": beside["p50"], "max": beside["max"]}, 100),
    ]


def control_plane_report(figures):
    """(text, JSON)"""
    rows = [[name, *(figures[part][key].text(1) for part, key in cells)] for name, cells in {
        "change of 100 Grants, after reading": [("change_100_grants", "after_reading_ms")],
        "change of 100 Grants, rename() to packet": [("change_100_grants", "rename_to_packet_ms")],
        "10,000 prefixes, after reading": [("prefixes_10000", "after_reading_ms")],
        "10,000 prefixes, with reading": [("prefixes_10000", "with_reading_ms")],
        "ipset restore of the same": [("prefixes_10000", "ipset_restore_ms")],
        "start, 1 Grant, no pins": [("start_1_grant", "without_pins_ms")],
        "start, 1 Grant, pins": [("start_1_grant", "with_pins_ms")],
        "start, 1,000 Grants, no pins": [("start_1000_grants", "without_pins_ms")],
        "start, 1,000 Grants, pins": [("start_1000_grants", "with_pins_ms")],
        "start, 1,000 Grants and 100 guests, no pins": [("start_100_guests", "without_pins_ms")],
        "start, 1,000 Grants and 100 guests, pins": [("start_100_guests", "with_pins_ms")],
    }.items()]
    for name, edit in (("edit of 1 Grant", figures["edit"]), ("edit of 1 of 1,000 Grants", figures["edit_beside_1000"])):
        rows.append([f"{name}, rename() to packet, p50 / p99 / max of {edit['count']}",
                     f"{edit['p50']:.1f} / {edit['p99']:.1f} / {edit['max']:.1f}"])
    targets = control_plane_targets(figures)
    text = "Milliseconds until in force\n" + table(["what", "median [min-max]"], rows)
    text += "\n\nMemory with 1,000 Grants and 100 guests: " + ", ".join(
        f"{name} {kib / 1024:.1f} MiB" for name, kib in figures["start_100_guests"]["memory_kib"].items())
    return text, {**figures, "targets": targets}
