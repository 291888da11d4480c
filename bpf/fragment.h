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

ALWAYS_INLINE __u64 fragment_tag(const struct grantd_frag_key *key)
{
	__u64 who = (__u64)key->endpoint_id << 32 | key->id;
	__u64 ends = (__u64)word(&key->source, 3) << 32 | word(&key->destination, 3);

	return (who * 0x9e3779b97f4a7c15ULL) ^
	       ((ends ^ word(&key->source, 1) ^ (key->protocol << 1 | key->direction)) * 0xc2b2ae3d27d4eb4fULL);
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
	seen.key_tag = first->key_tag; /* last: decision 70 */
	if (seen.key_tag != fragment_tag(&key) || seen.policy_id != packet->policy_id ||
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
	first.key_tag = fragment_tag(&key);
	first.policy_id = packet->policy_id;
	first.first_seen_ns = packet->now_ns;
	first.header_bytes = packet->fragment_header_skip + packet->l4_header_bytes;
	first.identity = packet->identity;
	return bpf_map_update_elem(table, &key, &first, BPF_ANY) ? GRANTD_REASON_FRAGMENT_TABLE_FULL : GO_ON;
}

#endif
