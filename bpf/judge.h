/* May this initiator begin this flow? The only place where rules are looked up.
 * Cost: up to two LPM lookups and one hash lookup; never on the path of an established flow. */
#ifndef GRANTD_BPF_JUDGE_H
#define GRANTD_BPF_JUDGE_H

#include "bpf/stamp.h"

/* Who wants to reach what: the port is the one that the initiator sends to. */
struct question {
	struct grantd_address peer;
	__u32 rules_id;
	__u32 identity; /* of the peer, when the peer is the initiator */
	__u16 port;
	__u8 family;
	__u8 protocol;
	/* the answer */
	__u16 source;
	__u8 by_identity;
	__u8 pad;
};

ALWAYS_INLINE bool covers(const struct grantd_ranges *ranges, struct question *question)
{
	for (int i = 0; i < GRANTD_RANGES_PER_RULE; i++) {
		const struct grantd_range *range = &ranges->range[i];

		if (i >= ranges->count)
			break;
		if (range->protocol && range->protocol != question->protocol)
			continue;
		if (question->protocol != IPPROTO_ICMP &&
		    (question->port < range->low || question->port > range->high))
			continue;
		question->source = range->source;
		return true;
	}
	return false;
}

ALWAYS_INLINE struct grantd_ranges *identity_rule(const struct question *question, __u32 direction)
{
	struct grantd_idrule_key key = {
		.rules_id = question->rules_id,
		.identity = question->identity,
		.direction = direction,
	};

	return bpf_map_lookup_elem(&grantd_idrule, &key);
}

ALWAYS_INLINE struct grantd_ranges *address_rule(const struct question *question)
{
	struct grantd_rule_key key = {
		.rules_id = question->rules_id,
		.direction = GRANTD_EGRESS,
		.family = question->family,
	};

	key.prefixlen = GRANTD_RULE_KEY_FIXED_BITS + set_trie_address(key.address, question->family, &question->peer);
	return bpf_map_lookup_elem(&grantd_rule, &key);
}

/* The guest is the initiator: by whose address it is, and by address. Global, as parse_l3 is. */
__attribute__((noinline)) int judge_egress(struct question *question)
{
	struct grantd_ranges *by_identity, *by_address;
	bool known = false;

	if (!question)
		return GRANTD_REASON_DESTINATION;
	question->identity =
		identity_of_address(GRANTD_UPLINK_DESTINATION, question->family, &question->peer);
	if (question->identity != GRANTD_IDENTITY_NOBODY) {
		by_identity = identity_rule(question, GRANTD_EGRESS);
		if (by_identity) {
			if (covers(by_identity, question)) {
				question->by_identity = 1;
				return GO_ON;
			}
			known = true;
		}
	}
	by_address = address_rule(question);
	if (!by_address)
		return known ? GRANTD_REASON_DESTINATION_PORT : GRANTD_REASON_DESTINATION;
	if (covers(by_address, question))
		return GO_ON;
	if (by_address->count || known)
		return GRANTD_REASON_DESTINATION_PORT;
	return by_address->protected_range ? GRANTD_REASON_PROTECTED_DESTINATION : GRANTD_REASON_DESTINATION;
}

/* The peer is the initiator: by its identity alone, never by its address. */
__attribute__((noinline)) int judge_ingress(struct question *question)
{
	struct grantd_ranges *by_identity;

	if (!question)
		return GRANTD_REASON_NOBODY;
	if (question->identity == GRANTD_IDENTITY_NOBODY)
		return GRANTD_REASON_NOBODY;
	by_identity = identity_rule(question, GRANTD_INGRESS);
	if (!by_identity)
		return GRANTD_REASON_NOT_A_PARTY;
	question->by_identity = 1;
	return covers(by_identity, question) ? GO_ON : GRANTD_REASON_PARTY_PORT;
}

#endif
