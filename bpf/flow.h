/* Flows (rules 3 and 4): which packets may begin one, and which only follow.
 * Cost of an established flow: one lookup in an array of maps, one in the Grant's LRU table; no policy, no rules. */
#ifndef GRANTD_BPF_FLOW_H
#define GRANTD_BPF_FLOW_H

#include "bpf/judge.h"
#include "bpf/queue.h"

ALWAYS_INLINE __u64 tag_of(const struct grantd_flow_key *key)
{
	__u64 ports = (__u64)key->local_port << 16 | key->peer_port;
	__u64 who = (__u64)key->endpoint_id << 32 | key->protocol << 8 | key->echo_initiator;
	__u64 peer_low = (__u64)word(&key->peer_address, 2) << 32 | word(&key->peer_address, 3);
	__u64 peer_high = (__u64)word(&key->peer_address, 0) << 32 | word(&key->peer_address, 1);
	__u64 local = (__u64)word(&key->local_address, 1) << 32 | word(&key->local_address, 3);

	return ((peer_low ^ ports) * 0x9e3779b97f4a7c15ULL) ^ ((peer_high ^ who) * 0xc2b2ae3d27d4eb4fULL) ^
	       (local * 0x165667b19e3779f9ULL);
}

ALWAYS_INLINE __u64 idle_of(__u8 protocol, __u32 flags)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return flags & GRANTD_FLOW_CLOSING ? GRANTD_IDLE_TCP_CLOSING_NS : GRANTD_IDLE_TCP_NS;
	case IPPROTO_UDP:
		return GRANTD_IDLE_UDP_NS;
	case IPPROTO_SCTP:
		return GRANTD_IDLE_SCTP_NS;
	default:
		return GRANTD_IDLE_ICMP_NS;
	}
}

/* Whether the element is still this key's. Once its flow is evicted it is used for another one, while programs still read
 * it; the tag is written first. So this is asked after all that was read to judge by, and those reads are volatile, which
 * keeps them in order (decision 70). */
ALWAYS_INLINE bool is_still(const volatile struct grantd_flow *flow, __u64 tag)
{
	return flow->key_tag == tag;
}

/* NULL where there is none, where it has been idle too long, and where the element that we
 * found is just being used again for another key. */
ALWAYS_INLINE struct grantd_flow *find_flow(void *table, const struct grantd_flow_key *key, __u64 tag, __u64 now_ns)
{
	struct grantd_flow *flow = bpf_map_lookup_elem(table, key);

	if (!flow || !is_still(flow, tag))
		return NULL;
	if (now_ns > flow->last_seen_ns && now_ns - flow->last_seen_ns > idle_of(key->protocol, flow->flags))
		return NULL;
	return flow;
}

ALWAYS_INLINE void key_of(const struct packet *packet, __u32 direction, struct grantd_flow_key *key)
{
	bool out = direction == GRANTD_EGRESS;

	__builtin_memset(key, 0, sizeof(*key));
	key->endpoint_id = packet->endpoint_id;
	key->protocol = packet->protocol;
	key->local_address = out ? packet->source : packet->destination;
	key->peer_address = out ? packet->destination : packet->source;
	if (packet->protocol == IPPROTO_ICMP) {
		/* A request's sender began the flow; a reply's sender did not. */
		key->echo_initiator = out == is_echo_request(packet) ? GRANTD_INITIATOR_GUEST :
								       GRANTD_INITIATOR_PEER;
		key->local_port = packet->source_port;
	} else {
		key->local_port = out ? packet->source_port : packet->destination_port;
		key->peer_port = out ? packet->destination_port : packet->source_port;
	}
}

struct flow_search {
	void *table;		  /* NULL: the Grant has none */
	struct grantd_flow *flow; /* in the table; NULL: there is none */
	__u64 tag;		  /* the key's */
	struct grantd_flow_key key;
};

/* *search is all zeros before. */
ALWAYS_INLINE void search_flow(const struct packet *packet, __u32 direction, struct flow_search *search)
{
	search->table = bpf_map_lookup_elem(&grantd_flow, &packet->slot);
	if (!search->table)
		return;
	key_of(packet, direction, &search->key);
	search->tag = tag_of(&search->key);
	search->flow = find_flow(search->table, &search->key, search->tag, packet->now_ns);
}

/* A SYN without ACK is an initiator's, whatever flow there is. */
ALWAYS_INLINE bool is_syn(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP &&
	       (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/* What the kernel answers with where the socket is gone already (IPv6): an RST or an ACK without data. It follows
 * a flow of this node, and begins none. */
ALWAYS_INLINE bool is_bare_segment(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && packet->fragment == FRAGMENT_NONE &&
	       packet->l4_bytes == packet->l4_header_bytes && !(packet->tcp_flags & TCP_SYN);
}

/* FIN and RST shorten a flow's idle time; a SYN that begins it again takes that back. */
ALWAYS_INLINE __u32 closing_after(const struct packet *packet, __u32 flags)
{
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		return flags | GRANTD_FLOW_CLOSING;
	return is_syn(packet) ? flags & ~GRANTD_FLOW_CLOSING : flags;
}

ALWAYS_INLINE bool may_begin(const struct packet *packet)
{
	if (packet->late)
		return false;
	switch (packet->protocol) {
	case IPPROTO_TCP:
		/* A segment with ACK and neither SYN nor RST re-creates a flow that was lost. */
		return is_syn(packet) || (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK;
	case IPPROTO_UDP:
		return true;
	case IPPROTO_SCTP:
		return packet->sctp_chunk == 1; /* INIT (RFC 9260 3.2) */
	case IPPROTO_ICMP:
		return is_echo_request(packet);
	default:
		return false;
	}
}

/* What no flow may go to or come from; asked only where there is no flow yet. */
ALWAYS_INLINE enum grantd_reason sane_peer(const struct packet *packet, const struct grantd_address *peer)
{
	if (is_multicast(packet, peer))
		return GRANTD_REASON_MULTICAST;
	if (is_broadcast(packet, peer))
		return GRANTD_REASON_BROADCAST;
	if (is_martian(packet, peer))
		return GRANTD_REASON_MARTIAN;
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason judge(struct packet *packet, const struct grantd_flow_key *key,
				       __u32 initiator, __u32 identity)
{
	struct question question = {
		.peer = key->peer_address,
		.rules_id = packet->policy->rules_id,
		.identity = identity,
		.family = packet->family,
		.protocol = key->protocol,
		.port = initiator == GRANTD_INITIATOR_GUEST ? key->peer_port : key->local_port,
	};
	enum grantd_reason reason = sane_peer(packet, &key->peer_address);

	if (reason)
		return reason;
	reason = initiator == GRANTD_INITIATOR_GUEST ? judge_egress(&question) : judge_ingress(&question);
	packet->peer_identity = question.identity;
	packet->decided_by_source = question.source;
	packet->decided_by_identity = question.by_identity;
	return reason;
}

/* Replaces the whole entry: fields that belong together are never changed one by one. */
ALWAYS_INLINE enum grantd_reason put_flow(void *table, struct packet *packet, const struct grantd_flow_key *key,
					  __u32 initiator, __u32 identity, __u32 flags, enum grantd_reason done)
{
	const struct grantd_policy *policy = packet->policy;
	struct grantd_flow flow = {
		.key_tag = tag_of(key),
		.policy_id = packet->policy_id,
		.not_after_ns = policy->not_after_ns,
		.last_seen_ns = packet->now_ns,
		.peer_identity = identity,
		.realm_epoch = policy->realm_epoch,
		.initiator = initiator,
		.flags = (flags & GRANTD_FLOW_CLOSING) |
			 (policy->limit[GRANTD_EGRESS].rate_bps ? GRANTD_FLOW_LIMITED_EGRESS : 0) |
			 (policy->limit[GRANTD_INGRESS].rate_bps ? GRANTD_FLOW_LIMITED_INGRESS : 0),
		.guest_identity = policy->identity,
	};

	if (dry_run)
		return done;
	return bpf_map_update_elem(table, key, &flow, BPF_ANY) ? GRANTD_REASON_FLOW_TABLE_FULL : done;
}

/* There is no flow that this packet may follow: it is judged as an initiator's, or drops. */
NOINLINE int begin_flow(void *table, struct packet *packet, struct grantd_flow_key *key, __u32 side)
{
	__u32 identity = side == GRANTD_INITIATOR_PEER && !packet->without_socket ? packet->identity :
										    GRANTD_IDENTITY_NOBODY;
	enum grantd_reason reason;

	if (!may_begin(packet)) {
		reason = sane_peer(packet, &key->peer_address);
		return reason ? reason : GRANTD_REASON_NO_FLOW;
	}
	reason = judge(packet, key, side, identity);
	if (reason)
		return reason;
	return put_flow(table, packet, key, side, identity, closing_after(packet, 0), GRANTD_REASON_NEW_FLOW);
}

/* The flow is there, but was admitted by another policy, or its peer's identity was in doubt:
 * judged again by its initiator and its peer's identity. */
NOINLINE int judge_again(struct flow_search *search, struct packet *packet, __u32 side)
{
	const volatile struct grantd_flow *flow = search->flow;
	__u32 initiator = flow->initiator, identity = flow->peer_identity, flags = flow->flags;
	__u32 realm_epoch = flow->realm_epoch;
	enum grantd_reason reason;

	if (!is_still(flow, search->tag))
		return begin_flow(search->table, packet, &search->key, side);
	/* Only the peer itself can say that it is still who it was. */
	if (initiator == GRANTD_INITIATOR_PEER && side == GRANTD_INITIATOR_GUEST &&
	    realm_epoch != packet->policy->realm_epoch)
		return GRANTD_REASON_AWAITING_PEER;
	reason = judge(packet, &search->key, initiator, identity);
	if (!reason)
		return put_flow(search->table, packet, &search->key, initiator, identity, closing_after(packet, flags),
				GRANTD_REASON_ESTABLISHED);
	/* What may not follow may still begin in its own right. */
	if (side != initiator && may_begin(packet))
		return begin_flow(search->table, packet, &search->key, side);
	return reason;
}

ALWAYS_INLINE __u32 side_of(__u32 direction)
{
	return direction == GRANTD_EGRESS ? GRANTD_INITIATOR_GUEST : GRANTD_INITIATOR_PEER;
}

/* What a packet that follows leaves in its flow. Where the element is another flow's by now, that is none the worse for
 * it: it was seen just now too, and of its flags only the one that shortens the idle time is touched. */
ALWAYS_INLINE void touch(const struct packet *packet, struct grantd_flow *flow)
{
	__u32 flags = flow->flags, after = closing_after(packet, flags);

	if (dry_run)
		return;
	if (packet->now_ns > flow->last_seen_ns + GRANTD_LAST_SEEN_STEP_NS)
		flow->last_seen_ns = packet->now_ns;
	if (after == flags)
		return;
	if (after & GRANTD_FLOW_CLOSING)
		__sync_fetch_and_or(&flow->flags, GRANTD_FLOW_CLOSING);
	else
		__sync_fetch_and_and(&flow->flags, ~GRANTD_FLOW_CLOSING);
}

/* The policy in force admitted this very flow and is not over: no more is to be asked. Whoever doubted the peer's
 * identity has set realm_epoch to 0; otherwise it is the policy's. */
ALWAYS_INLINE bool follows(const struct packet *packet, const volatile struct grantd_flow *flow, __u32 direction)
{
	__u32 side = side_of(direction), initiator = flow->initiator;

	if (flow->policy_id != packet->policy_id || packet->now_ns + GRANTD_CLOCK_SLACK_NS >= flow->not_after_ns)
		return false;
	if (initiator != side && is_syn(packet))
		return false;
	return initiator == GRANTD_INITIATOR_GUEST ||
	       (flow->realm_epoch && (side == GRANTD_INITIATOR_GUEST || flow->peer_identity == packet->identity));
}

/* What a flow is to a packet. */
enum way {
	WAY_BEGIN, /* nothing to follow */
	WAY_FOLLOW,
	WAY_AGAIN,    /* admitted by another policy */
	WAY_IN_DOUBT, /* is it still the same peer? */
	WAY_ANOTHERS, /* another sender at the same address and port, for example on a NAT port in new use */
};

ALWAYS_INLINE enum way way_by(const volatile struct grantd_flow *flow, const struct packet *packet, __u32 side)
{
	__u32 initiator = flow->initiator;

	if (is_syn(packet) && initiator != side)
		return WAY_BEGIN;
	if (initiator == GRANTD_INITIATOR_PEER) {
		if (side == GRANTD_INITIATOR_PEER && flow->peer_identity != packet->identity)
			return WAY_ANOTHERS;
		if (flow->realm_epoch != packet->policy->realm_epoch)
			return WAY_IN_DOUBT;
	}
	return flow->policy_id == packet->policy_id ? WAY_FOLLOW : WAY_AGAIN;
}

ALWAYS_INLINE enum grantd_reason follow_flow(struct packet *packet, __u32 direction, struct flow_search *search)
{
	struct grantd_flow *flow = search->flow;
	__u32 side = side_of(direction);
	enum way way = WAY_BEGIN;

	if (!search->table)
		return GRANTD_REASON_TABLE_MISSING;
	if (flow) {
		way = way_by(flow, packet, side);
		if (!is_still(flow, search->tag))
			way = WAY_BEGIN;
	}
	if (flow && way == WAY_FOLLOW) {
		packet->peer_identity = flow->peer_identity;
		touch(packet, flow);
		return GRANTD_REASON_ESTABLISHED;
	}
	if (way == WAY_AGAIN)
		return judge_again(search, packet, side);
	/* Of a packet that has waited in a queue it was said who sent it when it came. It follows what stands; it begins
	 * nothing and settles no doubt: the address may be somebody else's by now. */
	if (packet->late)
		return GRANTD_REASON_AWAITING_PEER;
	if (way == WAY_IN_DOUBT)
		return judge_again(search, packet, side);
	/* It inherits nothing, and replies wait for the rightful peer. */
	if (flow && way == WAY_ANOTHERS && !dry_run && is_still(flow, search->tag))
		flow->realm_epoch = 0;
	return begin_flow(search->table, packet, &search->key, side);
}

#endif
