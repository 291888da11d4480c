/* Sizes that both sides must agree on. Those that an administrator may change are only defaults
 * here: the loader sets max_entries before the maps are made. */
#ifndef GRANTD_ABI_LIMITS_H
#define GRANTD_ABI_LIMITS_H

#include "maps/abi/base.h"

#define GRANTD_MAX_GRANTS 4096		     /* slots 1..4096; slot 0 is quarantine */
#define GRANTD_SLOTS (GRANTD_MAX_GRANTS + 1)
#define GRANTD_MAX_POLICIES (4 * GRANTD_MAX_GRANTS) /* old and new records live side by side */
#define GRANTD_MAX_ENDPOINTS 16384
#define GRANTD_MAX_RULES 262144
#define GRANTD_MAX_PREFIXES 65536	     /* of realms and guests, in grantd_identity */
#define GRANTD_MAX_IDENTITIES 8191	     /* 13 bits of the stamp; 0 is nobody */
#define GRANTD_MAX_UPLINKS 1024
#define GRANTD_FLOWS_PER_GRANT 16384
#define GRANTD_MAX_FLOWS (GRANTD_MAX_GRANTS * GRANTD_FLOWS_PER_GRANT) /* of all Grants; memory is taken table by table */
#define GRANTD_FRAGMENTS_PER_GRANT 1024
#define GRANTD_EVENT_RING_BYTES (1 << 20)
#define GRANTD_RANGES_PER_RULE 16	     /* a Grant that needs more is refused, never cut */
#define GRANTD_IPV4_PER_ENDPOINT 4
#define GRANTD_IPV6_PER_ENDPOINT 4
#define GRANTD_GATEWAYS_PER_ENDPOINT 4
#define GRANTD_IPV6_EXTENSION_HEADERS 6
#define GRANTD_ICMP_ERROR_MAX_BYTES 1280     /* RFC 4443 2.4(c): the IPv6 minimum MTU; RFC 1812 allows less */
#define GRANTD_CGROUP_DEPTH 12		     /* how far above a task its guest's cgroup may be */

/* The largest packet that a bucket must be able to pass: 64 KiB of segmentation offload
 * and the headers of all its segments. A smaller burst would stop such a packet for ever. */
#define GRANTD_MIN_BURST_BYTES 131072ULL
#define GRANTD_MIN_RATE_BPS 8000ULL
#define GRANTD_MAX_RATE_BPS 400000000000ULL

#define GRANTD_NS_PER_SECOND 1000000000ULL
#define GRANTD_IDLE_TCP_NS (24 * 3600 * GRANTD_NS_PER_SECOND)
#define GRANTD_IDLE_TCP_CLOSING_NS (120 * GRANTD_NS_PER_SECOND)
#define GRANTD_IDLE_UDP_NS (180 * GRANTD_NS_PER_SECOND)
#define GRANTD_IDLE_SCTP_NS (3600 * GRANTD_NS_PER_SECOND)
#define GRANTD_IDLE_ICMP_NS (30 * GRANTD_NS_PER_SECOND)
#define GRANTD_FRAGMENT_LIFETIME_NS (30 * GRANTD_NS_PER_SECOND) /* RFC 791 3.2; ipfrag_time */
/* last_seen_ns is written again only when it is older than this: a store per packet would
 * move the cache line between CPUs for nothing. */
#define GRANTD_LAST_SEEN_STEP_NS GRANTD_NS_PER_SECOND
/* One event per slot, direction, reason and CPU in this time. */
#define GRANTD_EVENT_INTERVAL_NS (100 * 1000 * 1000ULL)

#endif
