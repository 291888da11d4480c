/* Guests' attachments on this node. */
#ifndef GRANTD_ABI_ENDPOINT_H
#define GRANTD_ABI_ENDPOINT_H

#include "maps/abi/base.h"
#include "maps/abi/limits.h"

#define GRANTD_ENDPOINT_LAYER3 1U /* no L2 header: no MAC, no ARP, no neighbour discovery */
#define GRANTD_ENDPOINT_HOST_NETWORK 2U /* found by cgroup, shares the host's addresses: not enforced */

/* grantd_endpoint: HASH, key ifindex (u32); for guests on the host network grantd_hostguest,
 * key cgroup id (u64), with the same value. Written by the agent.
 *
 * An element that is replaced may be used again for another key while a program still reads it
 * (measured). version stands at both ends and is never used again, and ifindex is repeated: a
 * program that finds them changed when it is about to pass drops instead. */
struct grantd_endpoint {
	__u64 version;
	__u32 ifindex;	   /* 0 in grantd_hostguest */
	__u32 endpoint_id; /* never used again, so that flows cannot be inherited */
	__u32 slot;	   /* 0: no Grant */
	__u32 flags;	   /* GRANTD_ENDPOINT_* */
	__u8 mac[6];
	__u16 pad;
	__u32 ipv4[GRANTD_IPV4_PER_ENDPOINT]; /* network byte order; unused: 0 */
	struct grantd_address ipv6[GRANTD_IPV6_PER_ENDPOINT]; /* unused: :: */
	struct grantd_address link_local; /* the guest's own, for neighbour discovery */
	struct grantd_address gateway[GRANTD_GATEWAYS_PER_ENDPOINT]; /* the host's side of the link: RA from its link-local ones */
	__u64 version_again;
};
GRANTD_ASSERT_SIZE(grantd_endpoint, 200);

#endif
