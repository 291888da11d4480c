/* Who is at the other end: identities, the uplinks they are believed on, and the stamp. */
#ifndef GRANTD_ABI_IDENTITY_H
#define GRANTD_ABI_IDENTITY_H

#include "maps/abi/base.h"

/* Numbers below GRANTD_IDENTITY_FIRST are fixed; the agent gives the others to realms and to
 * Grants (for their guests) and keeps them in grantd_idname. */
#define GRANTD_IDENTITY_NOBODY 0
#define GRANTD_IDENTITY_LOCAL_NODE 1 /* originated on this host; never in a stamp */
#define GRANTD_IDENTITY_FIRST 2

/* DESTINATION is not an uplink: entries of that class answer "whose address is this" for what
 * a guest sends. The others answer "who sends from this address, arriving here". */
enum grantd_uplink_class {
	GRANTD_UPLINK_DESTINATION = 0,
	GRANTD_UPLINK_TAILNET = 1,
	GRANTD_UPLINK_LAN = 2,
	GRANTD_UPLINK_OVERLAY = 3,
	GRANTD_UPLINK_UNTRUSTED = 4, /* a tunnel nobody vouches for: everybody is nobody */
};

/* grantd_identity: LPM. prefixlen = 32 + the prefix's own length; an IPv4 address stands in the
 * first four bytes. Written by the agent, replaced whole by the kernel's trie (RCU). */
struct grantd_identity_key {
	__u32 prefixlen;
	__u8 uplink_class; /* enum grantd_uplink_class */
	__u8 family;	   /* enum grantd_family */
	__u16 pad;
	__u8 address[16];
};
GRANTD_ASSERT_SIZE(grantd_identity_key, 24);
#define GRANTD_IDENTITY_KEY_FIXED_BITS 32

struct grantd_identity {
	__u32 identity; /* GRANTD_IDENTITY_NOBODY carves a hole into a wider prefix */
};
GRANTD_ASSERT_SIZE(grantd_identity, 4);

/* grantd_uplink: HASH, key ifindex (u32). Written by the agent. Eight bytes, so that a reader
 * takes it with one load and cannot see half of it; ifindex stands in it because an element
 * that the kernel uses again could belong to another interface. */
struct grantd_uplink {
	__u32 ifindex;
	__u8 uplink_class; /* enum grantd_uplink_class */
	__u8 layer3;	   /* 1: frames have no L2 header (tun, WireGuard) */
	__u16 pad;
} __attribute__((aligned(8)));
GRANTD_ASSERT_SIZE(grantd_uplink, 8);

/* The stamp: identity in the lowest 13 contiguous bits of the mask, and a fixed tag in all its
 * other bits so that a foreign mark is not mistaken for a stamp. Nobody is all zeros. */
#define GRANTD_STAMP_MASK_DEFAULT 0xff001fffU
#define GRANTD_STAMP_IDENTITY_BITS 13
#define GRANTD_STAMP_TAG 0x67000000U /* ANDed with the mask; the setting may not leave it 0 */

#endif
