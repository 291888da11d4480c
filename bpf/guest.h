/* The path of a guest's packet, the same in both directions:
 *
 *   endpoint -> vlan? -> parse -> own source? -> flow that the policy in force admitted? --------+
 *         -> policy, validity -> housekeeping                                                   |
 *         -> fragment | ICMP error | flow, admit and create -> charge -> stamp -> conclude <-------+
 *                                            limited: into the queue, and back to the beginning
 *
 * Cost of an established flow: hash lookup (endpoint), array (grant), array of maps and LRU hash (flow),
 * array of maps and per-CPU array (counter); where it is limited also hash (policy) and per-CPU array (credit).
 * Array lookups are inlined by the kernel; every other one is calls, and calls are what costs. */
#ifndef GRANTD_BPF_GUEST_H
#define GRANTD_BPF_GUEST_H

#include "bpf/bucket.h"
#include "bpf/checksum.h"
#include "bpf/conclude.h"
#include "bpf/flow.h"
#include "bpf/fragment.h"
#include "bpf/housekeeping.h"
#include "bpf/icmp_error.h"
#include "bpf/linear.h"
#include "bpf/origin.h"
#include "bpf/weigh.h"

ALWAYS_INLINE bool take_endpoint(struct packet *packet, const struct grantd_endpoint *endpoint)
{
	if (!endpoint)
		return false;
	packet->endpoint = endpoint;
	packet->endpoint_version = ((const volatile struct grantd_endpoint *)endpoint)->version;
	packet->endpoint_id = endpoint->endpoint_id;
	packet->slot = endpoint->slot;
	return true;
}

/* 0 where none is in force. */
ALWAYS_INLINE __u64 policy_in_force(const struct packet *packet)
{
	struct grantd_grant *grant = bpf_map_lookup_elem(&grantd_grant, &packet->slot);

	return grant ? *(volatile __u64 *)&grant->policy_id : 0;
}

ALWAYS_INLINE enum grantd_reason take_policy(struct packet *packet)
{
	const struct grantd_policy *policy;

	if (!packet->policy_id)
		return GRANTD_REASON_QUARANTINE;
	policy = bpf_map_lookup_elem(&grantd_policy, &packet->policy_id);
	if (!policy || policy->slot != packet->slot)
		return GRANTD_REASON_POLICY_MISSING;
	packet->policy = policy;
	packet->guest_identity = policy->identity;
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason check_policy(struct packet *packet)
{
	enum grantd_reason reason = take_policy(packet);
	const struct grantd_policy *policy = packet->policy;

	packet->now_ns = exact_now_ns();
	if (reason)
		return reason;
	if (packet->now_ns >= policy->not_after_ns)
		return policy->end_reason == GRANTD_REASON_REVOKED ? GRANTD_REASON_REVOKED : GRANTD_REASON_EXPIRED;
	if (packet->now_ns < policy->not_before_ns)
		return GRANTD_REASON_NOT_YET_VALID;
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason group_frame_reason(const struct packet *packet)
{
	if (packet->group_frame == GROUP_BROADCAST)
		return GRANTD_REASON_BROADCAST;
	return packet->group_frame == GROUP_MULTICAST ? GRANTD_REASON_MULTICAST : GO_ON;
}

/* Own source on the way out, own destination on the way in. Neighbour discovery checks its own
 * addresses itself. */
ALWAYS_INLINE enum grantd_reason check_own_address(const struct packet *packet, __u32 direction)
{
	const struct grantd_endpoint *endpoint = packet->endpoint;
	const struct grantd_address *own = direction == GRANTD_EGRESS ? &packet->source : &packet->destination;
	const struct grantd_address *other = direction == GRANTD_EGRESS ? &packet->destination : &packet->source;

	if (is_link_chatter(packet))
		return GRANTD_REASON_LINK_CHATTER;
	if (is_neighbour_discovery(packet))
		return GO_ON;
	if (!owns(endpoint, packet, own)) {
		if (is_ipv6_link_local(packet, own))
			return GRANTD_REASON_LINK_LOCAL;
		if (direction == GRANTD_EGRESS)
			return GRANTD_REASON_SOURCE_ADDRESS;
		if (is_multicast(packet, own))
			return GRANTD_REASON_MULTICAST;
		return is_broadcast(packet, own) ? GRANTD_REASON_BROADCAST : GRANTD_REASON_NOT_FOR_GUEST;
	}
	if (is_ipv6_link_local(packet, other))
		return GRANTD_REASON_LINK_LOCAL;
	/* A packet to oneself is on no wire; from outside it is forged. */
	if (owns(endpoint, packet, other))
		return GRANTD_REASON_MARTIAN;
	return GO_ON;
}

/* Whether the packet is of a kind that has a flow at all. */
ALWAYS_INLINE bool may_have_flow(const struct packet *packet)
{
	if (packet->fragment == FRAGMENT_LATER)
		return false;
	return packet->protocol != IPPROTO_ICMP || is_echo_request(packet) || is_echo_reply(packet);
}

/* The path of an established flow. Returns GO_ON where the packet needs more than this. */
ALWAYS_INLINE enum grantd_reason follow_at_once(const struct __sk_buff *skb, struct packet *packet, __u32 direction,
						struct flow_search *search)
{
	__u32 limited;

	if (dry_run || !search->flow || packet->fragment != FRAGMENT_NONE || packet->group_frame ||
	    !follows(packet, search, direction, &limited))
		return GO_ON;
	if (limited & (GRANTD_FLOW_LIMITED_EGRESS << direction)) {
		enum grantd_reason reason = take_policy(packet);

		if (reason)
			return reason;
		reason = charge(skb, packet, direction, GRANTD_REASON_ESTABLISHED);
		if (!passes(reason))
			return reason;
	}
	touch(packet, search->flow);
	return GRANTD_REASON_ESTABLISHED;
}

ALWAYS_INLINE enum grantd_reason admit(struct __sk_buff *skb, struct packet *packet, __u32 direction,
				       struct flow_search *search)
{
	if (may_have_flow(packet))
		return follow_flow(packet, direction, search);
	if (packet->fragment == FRAGMENT_LATER)
		return follow_first_fragment(packet, direction);
	if (is_icmp_error(packet))
		return admit_icmp_error(skb, packet, direction);
	return is_icmp_redirect(packet) ? GRANTD_REASON_ICMP_REDIRECT : GRANTD_REASON_ICMP_TYPE;
}

/* Housekeeping is on the wire like everything else: a flood of ARP is no way around the bucket. */
ALWAYS_INLINE enum grantd_reason charged(const struct __sk_buff *skb, struct packet *packet, __u32 direction,
					 enum grantd_reason reason)
{
	return passes(reason) ? charge(skb, packet, direction, reason) : reason;
}

/* From the parsed packet on: everything but L2. */
ALWAYS_INLINE enum grantd_reason admit_ip(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	struct flow_search search = {};
	enum grantd_reason reason;
	__u32 gso_type = 0;

	/* No kernel makes a fragment that is still to be cut into segments. A guest does, with a packet socket: later
	 * ones have no headers by which their segments could be reckoned (rule 12). */
	if ((packet->fragment && skb->gso_size) || is_rewritten_later(skb, packet))
		return GRANTD_REASON_MALFORMED;
	if (skb->gso_size && (direction == GRANTD_EGRESS || packet->protocol == IPPROTO_UDP))
		gso_type = gso_type_of(skb);
	if (direction == GRANTD_EGRESS && is_chain(gso_type))
		return GRANTD_REASON_MALFORMED;
	if (!weigh(skb, packet, gso_type))
		return GRANTD_REASON_MALFORMED;
	if (packet->without_socket && !is_bare_segment(packet))
		packet->identity = GRANTD_IDENTITY_NOBODY;
	if (!(packet->endpoint->flags & GRANTD_ENDPOINT_HOST_NETWORK)) {
		reason = check_own_address(packet, direction);
		if (reason)
			return reason;
	}
	packet->policy_id = policy_in_force(packet);
	if (packet->policy_id && may_have_flow(packet)) {
		search_flow(packet, direction, &search);
		reason = follow_at_once(skb, packet, direction, &search);
		if (reason)
			return reason;
	}
	reason = check_policy(packet);
	if (reason)
		return reason;
	if (is_neighbour_discovery(packet))
		return packet->endpoint->flags & (GRANTD_ENDPOINT_LAYER3 | GRANTD_ENDPOINT_HOST_NETWORK)
			       ? GRANTD_REASON_ICMP_TYPE
			       : charged(skb, packet, direction, keep_neighbours(skb, packet, direction));
	reason = group_frame_reason(packet);
	if (reason)
		return is_multicast(packet, &packet->destination) ? GRANTD_REASON_MULTICAST : reason;
	reason = charged(skb, packet, direction, admit(skb, packet, direction, &search));
	if (passes(reason) && packet->fragment == FRAGMENT_FIRST) {
		enum grantd_reason failed = remember_first_fragment(packet, direction);

		if (failed)
			return failed;
	}
	return reason;
}

ALWAYS_INLINE enum grantd_reason admit_frame(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	const struct grantd_endpoint *endpoint;
	__u32 ifindex = skb->ifindex;
	enum grantd_reason reason;

	packet->now_ns = tick_now_ns();
	packet->wire_bytes = skb->len;
	packet->segments = 1;
	endpoint = bpf_map_lookup_elem(&grantd_endpoint, &ifindex);
	if (!take_endpoint(packet, endpoint) || endpoint->ifindex != ifindex)
		return GRANTD_REASON_NO_ENDPOINT;
	if (skb->vlan_present)
		return GRANTD_REASON_VLAN_TAG;
	if (endpoint->flags & GRANTD_ENDPOINT_LAYER3 && !dry_run) {
		packet->ethertype = bpf_ntohs(skb->protocol);
	} else {
		/* BPF_PROG_TEST_RUN gives every frame an Ethernet header, so a dry run has one. */
		reason = parse_l2(skb, packet);
		if (reason)
			return reason;
		if (direction == GRANTD_EGRESS && !(endpoint->flags & GRANTD_ENDPOINT_LAYER3) &&
		    !same_mac(packet->source_mac, endpoint->mac))
			return GRANTD_REASON_SOURCE_MAC;
		if (packet->ethertype == ETH_P_ARP && !(endpoint->flags & GRANTD_ENDPOINT_LAYER3)) {
			if (is_rewritten_later(skb, packet))
				return GRANTD_REASON_MALFORMED;
			if (direction == GRANTD_EGRESS && !is_linear(skb, skb->len) && bpf_skb_pull_data(skb, skb->len))
				return GRANTD_REASON_MALFORMED;
			packet->policy_id = policy_in_force(packet);
			reason = check_policy(packet);
			return reason ? reason : charged(skb, packet, direction, keep_arp(skb, packet, direction));
		}
	}
	reason = parse_l3(skb, packet);
	if (direction == GRANTD_EGRESS && !reason && !is_linear(skb, judged_bytes(skb, packet)))
		reason = parse_in_linear(skb, packet);
	packet->endpoint = endpoint;
	packet->policy = NULL;
	if (reason)
		return reason;
	return admit_ip(skb, packet, direction);
}

SEC("tc")
int from_guest(struct __sk_buff *skb)
{
	struct packet packet = {};
	enum grantd_reason reason = admit_frame(skb, &packet, GRANTD_EGRESS);

	/* The tag also where it has no identity: without a mark nothing of a guest's goes on (decision 69). */
	if (passes(reason))
		skb->mark = stamped(skb->mark, packet.guest_identity) | stamp_tag;
	return leave(skb, &packet, GRANTD_EGRESS, reason);
}

SEC("tc")
int to_guest(struct __sk_buff *skb)
{
	struct packet packet = {};

	identify(skb, &packet);
	return leave(skb, &packet, GRANTD_INGRESS, admit_frame(skb, &packet, GRANTD_INGRESS));
}

#endif
