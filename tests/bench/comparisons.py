"""The policies that grantd is compared with, for the same Grant: the grantee's realm both ways,
DESTINATIONS on one UDP port, and fillers on 443/TCP."""

import base64
import hashlib
import socket

from probe import entered
from world import (DESTINATION_PORT, DESTINATIONS, REALM, SERVICE_RANGE, filler_prefixes, in_netns, run)

from bpf_calls import leaves_all_to_the_next_one, tcx_link  # of tests/common, which `probe` makes known


def apply_conntrack(world):
    """Connection tracking and nothing else: a rule that no packet reaches makes the kernel load it."""
    run(in_netns(world.netns["node"], ["nft", "-f", "-"]),
        "table inet tracking {\n chain unused {\n  ct state invalid drop\n }\n}\n")


def apply_programs_that_do_nothing(world):
    """Where grantd's programs stand, for as long as this process lives: what the hooks cost whoever uses them."""
    program = leaves_all_to_the_next_one()
    with entered(world.netns["node"]):
        tcx_link(program, socket.if_nametoindex("uplink0"), "ingress")
        for guest in world.all_guests:
            for side in ("ingress", "egress"):
                tcx_link(program, socket.if_nametoindex(guest.node_interface), side)


def apply_nft_set(world):
    """What an expert writes by hand: sets, one look-up a packet."""
    guests = ", ".join(guest.address for guest in world.all_guests)
    fillers = ", ".join(f"{prefix} . tcp . 443" for prefix in filler_prefixes(world.rules - 1))
    run(in_netns(world.netns["node"], ["nft", "-f", "-"]), f"""
table inet grants {{
  set guests {{ type ipv4_addr; elements = {{ {guests} }} }}
  set realm {{ type ipv4_addr; flags interval; elements = {{ {REALM} }} }}
  set destinations {{
    type ipv4_addr . inet_proto . inet_service; flags interval
    elements = {{ {DESTINATIONS} . udp . {DESTINATION_PORT}, {fillers} }}
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    ct state invalid drop
    ip saddr @guests goto egress
    ip daddr @guests goto ingress
  }}
  chain egress {{
    ip daddr @realm accept
    ip daddr . meta l4proto . th dport @destinations accept
    counter drop
  }}
  chain ingress {{
    ip saddr @realm accept
    counter drop
  }}
}}
""")


def _hashed(prefix, text):
    """Names as kube-router makes them: a prefix and 16 characters of a hash."""
    return prefix + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def _policy_rules(chain, comment, sets, match=""):
    """One rule of a policy: mark what complies, and return with the mark."""
    head = f'-A {chain} -m comment --comment "{comment}" {sets} {match}'
    return [f"{head} -j MARK --set-xmark 0x10000/0x10000", f"{head} -m mark --mark 0x10000/0x10000 -j RETURN"]


def _pod_rules(guest, policy_chain):
    name, namespace = f"guest-{guest.number}", "guest-bob-home"
    chain = _hashed("KUBE-POD-FW-", namespace + name)
    who = f"POD name:{name} namespace: {namespace}"
    to_pod = f'-m comment --comment "rule to jump traffic destined to {who} to chain {chain}" -d {guest.address}'
    from_pod = f'-m comment --comment "rule to jump traffic from {who} to chain {chain}" -s {guest.address}'
    unmarked = "-m mark ! --mark 0x10000/0x10000"
    return [
        f'-A {chain} -m comment --comment "common bi-directional traffic policy rules" -j KUBE-NWPLCY-COMMON',
        f'-A {chain} -m comment --comment "rule to permit the traffic traffic to pods when source is the pod\'s local '
        f'node" -m addrtype --src-type LOCAL -d {guest.address} -j ACCEPT',
        f'-A {chain} -m comment --comment "run through nw policy bob-home" -j {policy_chain}',
        f"-A KUBE-ROUTER-FORWARD {to_pod} -j {chain}",
        f"-A KUBE-ROUTER-OUTPUT {to_pod} -j {chain}",
        f"-A KUBE-ROUTER-FORWARD -m physdev --physdev-is-bridged {to_pod} -j {chain}",
        *(f"-A KUBE-ROUTER-{hook} {from_pod} -j {chain}" for hook in ("INPUT", "FORWARD", "OUTPUT")),
        f"-A KUBE-ROUTER-FORWARD -m physdev --physdev-is-bridged {from_pod} -j {chain}",
        f'-A {chain} -m comment --comment "rule to log dropped traffic {who}" {unmarked} '
        "-m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100",
        f'-A {chain} -m comment --comment "rule to REJECT traffic destined for {who}" {unmarked} -j REJECT',
        f"-A {chain} -j MARK --set-mark 0/0x10000",
        f'-A {chain} -m comment --comment "set mark to ACCEPT traffic that comply to network policies" '
        "-j MARK --set-mark 0x20000/0x20000",
    ], chain


def kube_router_rules(world):
    """(ipset restore, iptables-restore) as kube-router v2, the policy controller inside k3s, writes them for one
    NetworkPolicy of both types that selects every guest."""
    policy = "guest-bob-home" + "bob-home"
    chain = _hashed("KUBE-NWPLCY-", policy)
    pods_to, pods_from = _hashed("KUBE-DST-", policy + "pods"), _hashed("KUBE-SRC-", policy + "pods")
    blocks = [
        (_hashed("KUBE-SRC-", policy + "in0"), [REALM]),
        (_hashed("KUBE-DST-", policy + "out0"), [REALM]),
        (_hashed("KUBE-DST-", policy + "out1"), [DESTINATIONS]),
        (_hashed("KUBE-DST-", policy + "out2"), filler_prefixes(world.rules - 1)),
    ]
    sets = []
    for name in (pods_to, pods_from):
        sets.append(f"create {name} hash:ip family inet hashsize 1024 maxelem 65536 timeout 0")
        sets += [f"add {name} {guest.address} timeout 0" for guest in world.all_guests]
    for name, prefixes in blocks:
        sets.append(f"create {name} hash:net family inet hashsize 1024 maxelem 65536 timeout 0")
        sets += [f"add {name} {prefix} timeout 0" for prefix in prefixes]

    inward = "rule to ACCEPT traffic from specified ipBlocks to dest pods selected by policy name: bob-home namespace " \
             "guest-bob-home"
    outward = "rule to ACCEPT traffic from source pods to specified ipBlocks selected by policy name: bob-home " \
              "namespace guest-bob-home"
    rules = _policy_rules(chain, inward, f"-m set --match-set {blocks[0][0]} src -m set --match-set {pods_to} dst")
    for (name, _), match in zip(blocks[1:], ("", f"-p UDP --dport {DESTINATION_PORT}", "-p TCP --dport 443")):
        rules += _policy_rules(chain, outward,
                               f"-m set --match-set {pods_from} src -m set --match-set {name} dst", match)
    pod_chains = []
    for guest in world.all_guests:
        lines, pod_chain = _pod_rules(guest, chain)
        rules += lines
        pod_chains.append(pod_chain)

    explicit = '-m comment --comment "KUBE-ROUTER rule to explicitly ACCEPT traffic that comply to network policies" ' \
               "-m mark --mark 0x20000/0x20000 -j ACCEPT"
    local_ports = "-m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN"
    table = ["*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    table += [f":{name} - [0:0]" for name in
              ("KUBE-ROUTER-INPUT", "KUBE-ROUTER-FORWARD", "KUBE-ROUTER-OUTPUT", "KUBE-NWPLCY-COMMON", chain,
               *pod_chains)]
    for hook in ("INPUT", "FORWARD", "OUTPUT"):
        table.append(f'-A {hook} -m comment --comment "kube-router netpol" -j KUBE-ROUTER-{hook}')
        table.append(f"-A {hook} {explicit}")
    table += [
        f'-A KUBE-ROUTER-INPUT -m comment --comment "allow traffic to cluster IP" -d {SERVICE_RANGE} -j RETURN',
        f'-A KUBE-ROUTER-INPUT -p tcp -m comment --comment "allow LOCAL TCP traffic to node ports" {local_ports}',
        f'-A KUBE-ROUTER-INPUT -p udp -m comment --comment "allow LOCAL UDP traffic to node ports" {local_ports}',
        '-A KUBE-NWPLCY-COMMON -m comment --comment "rule to drop invalid state for pod" -m conntrack '
        "--ctstate INVALID -j DROP",
        '-A KUBE-NWPLCY-COMMON -m comment --comment "rule for stateful firewall for pod" -m conntrack '
        "--ctstate RELATED,ESTABLISHED -j ACCEPT",
        *(f'-A KUBE-NWPLCY-COMMON -p icmp -m comment --comment "allow icmp {what} messages" -m icmp --icmp-type {what} '
          "-j ACCEPT" for what in ("echo-request", "destination-unreachable", "time-exceeded")),
        *rules,
        "COMMIT",
    ]
    return "\n".join(sets) + "\n", "\n".join(table) + "\n"


def apply_kube_router(world):
    sets, table = kube_router_rules(world)
    run(in_netns(world.netns["node"], ["ipset", "restore"]), sets)
    run(in_netns(world.netns["node"], ["iptables-nft-restore"]), table)
