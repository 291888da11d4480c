/* Hooks on a guest's cgroup. guest_connect only answers sooner than tc would; guest_skb is a
 * backstop for guests on the host network, whom tc cannot see apart. Neither is the authority:
 * packet sockets pass both by (measured). */
#ifndef GRANTD_BPF_CGROUP_H
#define GRANTD_BPF_CGROUP_H

#include "bpf/guest.h"

#define CGROUP_ALLOW 1
#define CGROUP_REFUSE 0
#define SOCKET_STREAM 1

ALWAYS_INLINE const struct grantd_endpoint *guest_of_task(void)
{
	const struct grantd_endpoint *deepest = NULL;

	for (int level = 1; level <= GRANTD_CGROUP_DEPTH; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		const struct grantd_endpoint *found;

		if (!id)
			break;
		found = bpf_map_lookup_elem(&grantd_hostguest, &id);
		if (found)
			deepest = found;
	}
	return deepest;
}

ALWAYS_INLINE enum grantd_reason admit_connect(struct packet *packet, const struct grantd_endpoint *endpoint)
{
	struct grantd_flow_key key = { .protocol = IPPROTO_TCP };
	enum grantd_reason reason;

	if (!take_endpoint(packet, endpoint))
		return GRANTD_REASON_NO_ENDPOINT;
	packet->policy_id = policy_in_force(packet);
	reason = check_policy(packet);
	if (reason)
		return reason;
	key.peer_address = packet->destination;
	key.peer_port = packet->destination_port;
	reason = judge(packet, &key, GRANTD_INITIATOR_GUEST, GRANTD_IDENTITY_NOBODY);
	return reason ? reason : GRANTD_REASON_NEW_FLOW;
}

/* A connection inside the guest never reaches tc and is nobody's business. */
ALWAYS_INLINE bool stays_inside(const struct packet *packet, const struct grantd_endpoint *endpoint)
{
	const struct grantd_address *to = &packet->destination;

	if (packet->family == GRANTD_IPV4 ? to->bytes[12] == 127 || !word(to, 3) :
					    !(word(to, 0) | word(to, 1) | word(to, 2)) &&
						    (word(to, 3) & ~bpf_htonl(1)) == 0)
		return true;
	return endpoint && owns(endpoint, packet, to);
}

ALWAYS_INLINE int connect_verdict(struct bpf_sock_addr *context, struct packet *packet)
{
	const struct grantd_endpoint *endpoint;
	enum grantd_reason reason;

	if (context->type != SOCKET_STREAM)
		return CGROUP_ALLOW;
	packet->now_ns = exact_now_ns();
	packet->protocol = IPPROTO_TCP;
	packet->destination_port = bpf_ntohs(context->user_port);
	packet->segments = 1;
	endpoint = guest_of_task();
	if (stays_inside(packet, endpoint))
		return CGROUP_ALLOW;
	reason = admit_connect(packet, endpoint);
	if (passes(reason))
		return CGROUP_ALLOW; /* the SYN itself is counted at tc */
	conclude(packet, 0, GRANTD_EGRESS, reason);
	return CGROUP_REFUSE;
}

SEC("cgroup/connect4")
int guest_connect4(struct bpf_sock_addr *context)
{
	struct packet packet = { .family = GRANTD_IPV4, .ethertype = ETH_P_IP };

	set_ipv4(&packet.destination, context->user_ip4);
	return connect_verdict(context, &packet);
}

SEC("cgroup/connect6")
int guest_connect6(struct bpf_sock_addr *context)
{
	struct packet packet = { .family = GRANTD_IPV6, .ethertype = ETH_P_IPV6 };
	__u32 *to = (__u32 *)packet.destination.bytes;

	to[0] = context->user_ip6[0];
	to[1] = context->user_ip6[1];
	to[2] = context->user_ip6[2];
	to[3] = context->user_ip6[3];
	if (is_v4_mapped(&packet.destination)) {
		packet.family = GRANTD_IPV4;
		packet.ethertype = ETH_P_IP;
	}
	return connect_verdict(context, &packet);
}

ALWAYS_INLINE const struct grantd_endpoint *guest_of_socket(struct __sk_buff *skb)
{
	const struct grantd_endpoint *deepest = NULL;

	for (int level = 1; level <= GRANTD_CGROUP_DEPTH; level++) {
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, level);
		const struct grantd_endpoint *found;

		if (!id)
			break;
		found = bpf_map_lookup_elem(&grantd_hostguest, &id);
		if (found)
			deepest = found;
	}
	return deepest;
}

ALWAYS_INLINE int socket_verdict(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	const struct grantd_endpoint *endpoint = guest_of_socket(skb);
	enum grantd_reason reason;

	packet->now_ns = exact_now_ns();
	packet->ethertype = bpf_ntohs(skb->protocol);
	packet->wire_bytes = skb->len;
	packet->segments = 1;
	if (!take_endpoint(packet, endpoint)) {
		reason = GRANTD_REASON_NO_ENDPOINT;
	} else {
		reason = parse_l3(skb, packet);
		packet->endpoint = endpoint;
		packet->policy = NULL;
		if (!reason)
			reason = admit_ip(skb, packet, direction);
	}
	return conclude(packet, skb->ifindex, direction, reason) == VERDICT_NEXT ? CGROUP_ALLOW : CGROUP_REFUSE;
}

SEC("cgroup_skb/egress")
int guest_skb_egress(struct __sk_buff *skb)
{
	struct packet packet = {};

	return socket_verdict(skb, &packet, GRANTD_EGRESS);
}

SEC("cgroup_skb/ingress")
int guest_skb_ingress(struct __sk_buff *skb)
{
	struct packet packet = {};

	packet.identity = skb->ingress_ifindex == 1 ? GRANTD_IDENTITY_LOCAL_NODE : identity_of_stamp(skb->mark);
	return socket_verdict(skb, &packet, GRANTD_INGRESS);
}

#endif
