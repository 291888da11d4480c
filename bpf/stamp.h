/* The stamp: the sender's identity in the packet's mark (rule 11). */
#ifndef GRANTD_BPF_STAMP_H
#define GRANTD_BPF_STAMP_H

#include "bpf/packet.h"

ALWAYS_INLINE __u32 stamped(__u32 mark, __u32 identity)
{
	mark &= ~stamp_mask;
	if (identity != GRANTD_IDENTITY_NOBODY)
		mark |= stamp_tag | ((identity & stamp_identity_mask) << stamp_identity_shift);
	return mark;
}

ALWAYS_INLINE __u32 identity_of_stamp(__u32 mark)
{
	__u32 identity = (mark >> stamp_identity_shift) & stamp_identity_mask;

	mark &= stamp_mask & ~(stamp_identity_mask << stamp_identity_shift);
	/* LOCAL_NODE is never stamped: a mark that says so is somebody else's. */
	return mark == stamp_tag && identity >= GRANTD_IDENTITY_FIRST ? identity : GRANTD_IDENTITY_NOBODY;
}

ALWAYS_INLINE __u32 identity_of_address(__u8 uplink_class, __u8 family, const struct grantd_address *address)
{
	struct grantd_identity_key key = { .uplink_class = uplink_class, .family = family };
	struct grantd_identity *found;

	key.prefixlen = GRANTD_IDENTITY_KEY_FIXED_BITS + set_trie_address(key.address, family, address);
	found = bpf_map_lookup_elem(&grantd_identity, &key);
	return found ? found->identity : GRANTD_IDENTITY_NOBODY;
}

#endif
