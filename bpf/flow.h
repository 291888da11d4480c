/* Flows (rules 3 and 4): which packets may begin one, and which only follow.
 * Cost of an established flow: one lookup in an array of maps, one in the Grant's LRU table; no policy, no rules. */
#ifndef GRANTD_BPF_FLOW_H
#define GRANTD_BPF_FLOW_H

#include "bpf/judge.h"
#include "bpf/queue.h"

/* Of the key alone. A sum of products with secret numbers: who does not know them finds no two keys of one seal. Words
 * that a guest or its peer may choose go in by 32 bits, so that no difference of two is a multiple of a high power of two. */
ALWAYS_INLINE __u64 seal_of_key(const struct grantd_flow_key *key)
{
	const volatile __u64 *by = seal_numbers;

	return by[0] * word(&key->peer_address, 0) + by[1] * word(&key->peer_address, 1) +
	       by[2] * word(&key->peer_address, 2) + by[3] * word(&key->peer_address, 3) +
	       by[4] * ((__u32)key->local_port << 16 | key->peer_port) +
	       by[5] * ((__u64)key->endpoint_id << 32 | key->protocol << 8 | key->echo_initiator) +
	       by[6] * ((__u64)word(&key->local_address, 0) << 32 | word(&key->local_address, 1)) +
	       by[7] * ((__u64)word(&key->local_address, 2) << 32 | word(&key->local_address, 3));
}

#define FLOW_LIMITED (GRANTD_FLOW_LIMITED_EGRESS | GRANTD_FLOW_LIMITED_INGRESS)

/* What a flow's record says of it, for good: all but when it was seen, and whether it is closing. */
struct flow_facts {
	__u64 policy_id;
	__u64 not_after_ns;
	__u32 peer_identity;
	__u32 realm_epoch;
	__u32 initiator;
	__u32 limited; /* of GRANTD_FLOW_LIMITED_* */
	__u32 guest_identity;
};

/* Nobody outside chooses these words. */
ALWAYS_INLINE __u64 seal_of(const struct grantd_flow_key *key, const struct flow_facts *facts)
{
	const volatile __u64 *by = seal_numbers;

	return seal_of_key(key) + by[8] * facts->policy_id + by[9] * facts->not_after_ns +
	       by[10] * ((__u64)facts->peer_identity << 32 | facts->realm_epoch) +
	       by[11] * ((__u64)facts->guest_identity << 32 | facts->initiator << 8 | facts->limited);
}

/* False where the record is another flow's, or half another's: once its flow is evicted the element is used for another
 * one at once, also while it is read, and written in whatever order. So what is judged by is what was read here, and
 * the record is not asked again (decision 70). */
ALWAYS_INLINE bool read_flow(const volatile struct grantd_flow *flow, const struct grantd_flow_key *key,
			     struct flow_facts *facts)
{
	facts->policy_id = flow->policy_id;
	facts->not_after_ns = flow->not_after_ns;
	facts->peer_identity = flow->peer_identity;
	facts->realm_epoch = flow->realm_epoch;
	facts->initiator = flow->initiator;
	facts->limited = flow->flags & FLOW_LIMITED;
	facts->guest_identity = flow->guest_identity;
	return flow->seal == seal_of(key, facts);
}

/* NULL where there is none, and where it has been idle too long. What it says is to be read by read_flow(). */
ALWAYS_INLINE struct grantd_flow *find_flow(void *table, const struct grantd_flow_key *key, __u64 now_ns)
{
	struct grantd_flow *flow = bpf_map_lookup_elem(table, key);

	if (!flow)
		return NULL;
	if (now_ns > flow->last_seen_ns && now_ns - flow->last_seen_ns > GRANTD_FLOW_IDLE_NS(key->protocol, flow->flags))
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
	struct grantd_flow_key key;
};

/* *search is all zeros before. */
ALWAYS_INLINE void search_flow(const struct packet *packet, __u32 direction, struct flow_search *search)
{
	search->table = bpf_map_lookup_elem(&grantd_flow, &packet->slot);
	if (!search->table)
		return;
	key_of(packet, direction, &search->key);
	search->flow = find_flow(search->table, &search->key, packet->now_ns);
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
ALWAYS_INLINE long write_flow(void *table, const struct grantd_flow_key *key, const struct flow_facts *facts,
			      __u64 last_seen_ns, __u32 flags, __u64 how)
{
	struct grantd_flow flow = {
		.seal = seal_of(key, facts),
		.policy_id = facts->policy_id,
		.not_after_ns = facts->not_after_ns,
		.last_seen_ns = last_seen_ns,
		.peer_identity = facts->peer_identity,
		.realm_epoch = facts->realm_epoch,
		.initiator = facts->initiator,
		.flags = (flags & GRANTD_FLOW_CLOSING) | facts->limited,
		.guest_identity = facts->guest_identity,
	};

	return bpf_map_update_elem(table, key, &flow, how);
}

ALWAYS_INLINE enum grantd_reason put_flow(void *table, struct packet *packet, const struct grantd_flow_key *key,
					  __u32 initiator, __u32 identity, __u32 flags, enum grantd_reason done)
{
	const struct grantd_policy *policy = packet->policy;
	struct flow_facts facts = {
		.policy_id = packet->policy_id,
		.not_after_ns = policy->not_after_ns,
		.peer_identity = identity,
		.realm_epoch = policy->realm_epoch,
		.initiator = initiator,
		.limited = (policy->limit[GRANTD_EGRESS].rate_bps ? GRANTD_FLOW_LIMITED_EGRESS : 0) |
			   (policy->limit[GRANTD_INGRESS].rate_bps ? GRANTD_FLOW_LIMITED_INGRESS : 0),
		.guest_identity = policy->identity,
	};

	if (dry_run)
		return done;
	return write_flow(table, key, &facts, packet->now_ns, flags, BPF_ANY) ? GRANTD_REASON_FLOW_TABLE_FULL : done;
}

/* Somebody else sends from the peer's address: replies wait for the rightful one. Where that cannot be written the flow
 * goes. */
NOINLINE int doubt(struct flow_search *search)
{
	struct grantd_flow *flow = search->flow;
	struct flow_facts facts;

	if (!flow || !search->table || !read_flow(flow, &search->key, &facts) || !facts.realm_epoch)
		return 0;
	facts.realm_epoch = 0;
	if (write_flow(search->table, &search->key, &facts, flow->last_seen_ns, flow->flags, BPF_EXIST))
		bpf_map_delete_elem(search->table, &search->key);
	return 0;
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
 * identity has set realm_epoch to 0; otherwise it is the policy's. What read_flow() does, field by field: there are no
 * registers for all of them, and each that is kept on the stack costs. */
ALWAYS_INLINE bool follows(struct packet *packet, const struct flow_search *search, __u32 direction, __u32 *limited)
{
	const volatile struct grantd_flow *flow = search->flow;
	const volatile __u64 *by = seal_numbers;
	__u64 policy_id = flow->policy_id, not_after_ns = flow->not_after_ns, sum;
	__u32 side = side_of(direction), peer_identity, realm_epoch, initiator;
	bool in_doubt;

	if (policy_id != packet->policy_id || packet->now_ns + GRANTD_CLOCK_SLACK_NS >= not_after_ns)
		return false;
	sum = seal_of_key(&search->key) + by[8] * policy_id + by[9] * not_after_ns;
	peer_identity = flow->peer_identity;
	realm_epoch = flow->realm_epoch;
	sum += by[10] * ((__u64)peer_identity << 32 | realm_epoch);
	in_doubt = !realm_epoch || (side == GRANTD_INITIATOR_PEER && peer_identity != packet->identity);
	initiator = flow->initiator;
	*limited = flow->flags & FLOW_LIMITED;
	packet->guest_identity = flow->guest_identity;
	sum += by[11] * ((__u64)packet->guest_identity << 32 | initiator << 8 | *limited);
	return flow->seal == sum && !(initiator != side && is_syn(packet)) &&
	       !(initiator == GRANTD_INITIATOR_PEER && in_doubt);
}

/* What a flow is to a packet. */
enum way {
	WAY_BEGIN, /* nothing to follow */
	WAY_FOLLOW,
	WAY_AGAIN,    /* admitted by another policy */
	WAY_IN_DOUBT, /* is it still the same peer? */
	WAY_ANOTHERS, /* another sender at the same address and port, for example on a NAT port in new use */
};

ALWAYS_INLINE enum way way_by(const struct flow_facts *facts, const struct packet *packet, __u32 side)
{
	if (is_syn(packet) && facts->initiator != side)
		return WAY_BEGIN;
	if (facts->initiator == GRANTD_INITIATOR_PEER) {
		if (side == GRANTD_INITIATOR_PEER && facts->peer_identity != packet->identity)
			return WAY_ANOTHERS;
		if (facts->realm_epoch != packet->policy->realm_epoch)
			return WAY_IN_DOUBT;
	}
	return facts->policy_id == packet->policy_id ? WAY_FOLLOW : WAY_AGAIN;
}

/* Neither a reason nor GO_ON: the flow is somebody else's, and to be doubted. */
#define OF_ANOTHER -1

/* By the flow that is there, read once: what is asked of it, and what it is judged by, are of one moment. GO_ON where the
 * packet is to begin one in its own right, if it may. */
NOINLINE int judge_by_flow(struct flow_search *search, struct packet *packet, __u32 side)
{
	struct grantd_flow *flow = search->flow;
	enum way way = WAY_BEGIN;
	struct flow_facts facts;
	enum grantd_reason reason;

	if (!packet->policy || !search->table)
		return GRANTD_REASON_POLICY_MISSING;
	if (flow && read_flow(flow, &search->key, &facts))
		way = way_by(&facts, packet, side);
	if (flow && way == WAY_FOLLOW) {
		packet->peer_identity = facts.peer_identity;
		touch(packet, flow);
		return GRANTD_REASON_ESTABLISHED;
	}
	/* Of a packet that has waited in a queue it was said who sent it when it came. It follows what stands; it begins
	 * nothing and settles no doubt: the address may be somebody else's by now. */
	if (packet->late && way != WAY_AGAIN)
		return GRANTD_REASON_AWAITING_PEER;
	if (!flow || way == WAY_BEGIN)
		return GO_ON;
	if (way == WAY_ANOTHERS)
		return OF_ANOTHER;
	/* Only the peer itself can say that it is still who it was. */
	if (way == WAY_IN_DOUBT && side == GRANTD_INITIATOR_GUEST)
		return GRANTD_REASON_AWAITING_PEER;
	reason = judge(packet, &search->key, facts.initiator, facts.peer_identity);
	if (!reason)
		return put_flow(search->table, packet, &search->key, facts.initiator, facts.peer_identity,
				closing_after(packet, flow->flags), GRANTD_REASON_ESTABLISHED);
	/* What may not follow may still begin. */
	return side != facts.initiator && may_begin(packet) ? GO_ON : reason;
}

ALWAYS_INLINE enum grantd_reason follow_flow(struct packet *packet, __u32 direction, struct flow_search *search)
{
	__u32 side = side_of(direction);
	int reason;

	if (!search->table)
		return GRANTD_REASON_TABLE_MISSING;
	reason = judge_by_flow(search, packet, side);
	if (reason != GO_ON && reason != OF_ANOTHER)
		return reason;
	/* It inherits nothing, and replies wait for the rightful peer. */
	if (reason == OF_ANOTHER && !dry_run)
		doubt(search);
	return begin_flow(search->table, packet, &search->key, side);
}

#endif
