/* ICMP errors (rule 9) pass only for a live, current flow that they quote. */
#ifndef GRANTD_BPF_ICMP_ERROR_H
#define GRANTD_BPF_ICMP_ERROR_H

#include "bpf/flow.h"
#include "bpf/parse.h"

/* Fills the quoted packet's addresses, protocol and ports. The quote ends after eight bytes of L4
 * (RFC 792), so no more is read. */
ALWAYS_INLINE bool parse_quoted(struct __sk_buff *skb, const struct packet *packet, struct packet *quoted)
{
	__u32 at = packet->l4 + sizeof(struct icmp_header);
	__be16 ports[4];

	quoted->family = packet->family;
	if (packet->family == GRANTD_IPV4) {
		struct iphdr ip;

		if (packet->l4_bytes < sizeof(struct icmp_header) + sizeof(ip) + sizeof(ports) ||
		    bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl != 5 ||
		    (ip.frag_off & bpf_htons(IPV4_OFFSET)))
			return false;
		set_ipv4(&quoted->source, ip.saddr);
		set_ipv4(&quoted->destination, ip.daddr);
		quoted->protocol = ip.protocol;
		at += sizeof(ip);
	} else {
		struct extensions walked = {};
		struct ipv6hdr ip;

		if (packet->l4_bytes < sizeof(struct icmp_header) + sizeof(ip) + sizeof(ports) ||
		    bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&quoted->source, &ip.saddr, sizeof(quoted->source));
		__builtin_memcpy(&quoted->destination, &ip.daddr, sizeof(quoted->destination));
		/* The end of the packet need not be there: whole words of eight bytes are, as the headers are of. */
		walked.at = at + sizeof(ip);
		walked.end = walked.at + ((packet->l4 + packet->l4_bytes - walked.at) & ~7U);
		if (walk_extensions(skb, &walked, ip.nexthdr) || walked.fragment == FRAGMENT_LATER ||
		    walked.end - walked.at < sizeof(ports))
			return false;
		quoted->protocol = walked.protocol;
		at = walked.at;
	}
	if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
		return false;
	if (quoted->protocol == IPPROTO_ICMP) {
		quoted->icmp_type = *(__u8 *)ports;
		quoted->source_port = bpf_ntohs(ports[2]);
		return is_echo_request(quoted) || is_echo_reply(quoted);
	}
	/* Where the protocol has no ports, no flow has it. */
	quoted->source_port = bpf_ntohs(ports[0]);
	quoted->destination_port = bpf_ntohs(ports[1]);
	return true;
}

NOINLINE int admit_icmp_error(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	void *table = bpf_map_lookup_elem(&grantd_flow, &packet->slot);
	struct packet quoted = {};
	struct grantd_flow_key key;
	const struct grantd_flow *flow;
	struct flow_facts facts;
	enum grantd_reason reason = sane_peer(packet, direction == GRANTD_EGRESS ? &packet->destination : &packet->source);

	if (!table)
		return GRANTD_REASON_TABLE_MISSING;
	if (reason)
		return reason;
	if (packet->fragment != FRAGMENT_NONE)
		return GRANTD_REASON_ICMP_ERROR_UNRELATED;
	/* A bridge hands on what stands behind it too. */
	if (packet->l4 - packet->l3 + packet->l4_bytes > GRANTD_ICMP_ERROR_MAX_BYTES ||
	    (direction == GRANTD_EGRESS && packet->l4 + packet->l4_bytes != skb->len))
		return GRANTD_REASON_ICMP_ERROR_SIZE;
	if (!parse_quoted(skb, packet, &quoted))
		return GRANTD_REASON_ICMP_ERROR_UNRELATED;
	/* The error goes to the sender of what it quotes; what a guest complains of, it has received. */
	if (!same_address(&packet->destination, &quoted.source))
		return GRANTD_REASON_ICMP_ERROR_UNRELATED;
	if (direction == GRANTD_EGRESS && !same_address(&packet->source, &quoted.destination))
		return GRANTD_REASON_ICMP_ERROR_UNRELATED;
	quoted.endpoint_id = packet->endpoint_id;
	key_of(&quoted, direction == GRANTD_EGRESS ? GRANTD_INGRESS : GRANTD_EGRESS, &key);
	flow = find_flow(table, &key, packet->now_ns);
	if (!flow || !read_flow(flow, &key, &facts) || facts.policy_id != packet->policy_id ||
	    (facts.initiator == GRANTD_INITIATOR_PEER && facts.realm_epoch != packet->policy->realm_epoch))
		return GRANTD_REASON_ICMP_ERROR_UNRELATED;
	return GRANTD_REASON_ICMP_ERROR;
}

#endif
