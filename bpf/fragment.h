/* Fragments (rule 10): the first one holds the L4 header and is judged, the later ones follow it. */
#ifndef GRANTD_BPF_FRAGMENT_H
#define GRANTD_BPF_FRAGMENT_H

#include "bpf/packet.h"

ALWAYS_INLINE void fragment_key(const struct packet *packet, __u32 direction, struct grantd_frag_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->endpoint_id = packet->endpoint_id;
	key->id = packet->fragment_id;
	key->source = packet->source;
	key->destination = packet->destination;
	key->protocol = packet->fragment_protocol;
	key->direction = direction;
}

/* As a flow's: of the key, of which either end may be chosen by whoever sends, and of all that the record says. */
ALWAYS_INLINE __u64 seal_of_fragment(const struct grantd_frag_key *key, const struct grantd_frag *first)
{
	const volatile __u64 *by = seal_numbers;

	return by[0] * word(&key->source, 0) + by[1] * word(&key->source, 1) + by[2] * word(&key->source, 2) +
	       by[3] * word(&key->source, 3) + by[4] * word(&key->destination, 0) + by[5] * word(&key->destination, 1) +
	       by[6] * word(&key->destination, 2) + by[7] * word(&key->destination, 3) + by[8] * key->id +
	       by[9] * ((__u64)key->endpoint_id << 32 | key->protocol << 8 | key->direction) + by[10] * first->policy_id +
	       by[11] * first->first_seen_ns + by[12] * ((__u64)first->identity << 32 | first->header_bytes);
}

NOINLINE int follow_first_fragment(struct packet *packet, __u32 direction)
{
	void *table = bpf_map_lookup_elem(&grantd_frag, &packet->slot);
	const volatile struct grantd_frag *first;
	struct grantd_frag seen;
	struct grantd_frag_key key;

	if (!table)
		return GRANTD_REASON_TABLE_MISSING;
	fragment_key(packet, direction, &key);
	first = bpf_map_lookup_elem(table, &key);
	if (!first)
		return GRANTD_REASON_FRAGMENT_ORPHAN;
	seen.policy_id = first->policy_id;
	seen.first_seen_ns = first->first_seen_ns;
	seen.header_bytes = first->header_bytes;
	seen.identity = first->identity;
	if (first->seal != seal_of_fragment(&key, &seen) || seen.policy_id != packet->policy_id ||
	    /* Another CPU may have read the clock a little later than this one. */
	    (packet->now_ns > seen.first_seen_ns &&
	     packet->now_ns - seen.first_seen_ns > GRANTD_FRAGMENT_LIFETIME_NS) ||
	    (seen.identity && seen.identity != packet->identity))
		return GRANTD_REASON_FRAGMENT_ORPHAN;
	if (packet->fragment_bytes_before < seen.header_bytes)
		return GRANTD_REASON_FRAGMENT_HEADER;
	return GRANTD_REASON_FRAGMENT;
}

/* After the first fragment was admitted and paid for. */
NOINLINE int remember_first_fragment(struct packet *packet, __u32 direction)
{
	void *table = bpf_map_lookup_elem(&grantd_frag, &packet->slot);
	struct grantd_frag_key key;
	struct grantd_frag first = {};

	if (!table)
		return GRANTD_REASON_TABLE_MISSING;
	if (dry_run)
		return GO_ON;
	fragment_key(packet, direction, &key);
	first.policy_id = packet->policy_id;
	first.first_seen_ns = packet->now_ns;
	first.header_bytes = packet->fragment_header_skip + packet->l4_header_bytes;
	first.identity = packet->identity;
	first.seal = seal_of_fragment(&key, &first);
	return bpf_map_update_elem(table, &key, &first, BPF_ANY) ? GRANTD_REASON_FRAGMENT_TABLE_FULL : GO_ON;
}

#endif
