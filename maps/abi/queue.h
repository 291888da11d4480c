/* Where packets of limited Grants wait for their turn (decision 42). */
#ifndef GRANTD_ABI_QUEUE_H
#define GRANTD_ABI_QUEUE_H

#include "maps/abi/about.h"
#include "maps/abi/base.h"

enum grantd_shaper_mode {
  GRANTD_SHAPER_POLICER = 0, /* nothing waits: what is above the rate drops */
  GRANTD_SHAPER_HTB = 1,     /* waits in a class of an HTB qdisc on a link of ours */
};

#define GRANTD_QUEUE_MAJOR 1U /* of the classes that packets wait in */

/* grantd_shaper: ARRAY of one. Written by the agent. A packet goes into the queues at one end of a pair
 * of interfaces and comes back at the other. */
struct grantd_shaper {
	__u32 mode;                  /* enum grantd_shaper_mode */
	__u32 queue_ifindex;         /* the end with the queues; 0: there is none */
	__u32 release_ifindex;       /* the end where they come back */
	__u32 secret;                /* stands in skb->cb of what has waited; never 0 in mode HTB */
  char why[GRANTD_TEXT_BYTES]; /* that mode was chosen */
};
GRANTD_ASSERT_SIZE(grantd_shaper, 144);

/* grantd_queue: HASH, key endpoint_id (u32). Written by the agent, after the classes are there. Without
 * an entry, or with class 0, packets of this guest do not wait. */
struct grantd_queue {
	__u32 class_id[GRANTD_DIRECTIONS]; /* of the guest, major and minor */
};
GRANTD_ASSERT_SIZE(grantd_queue, 8);

/* grantd_device: DEVMAP_HASH, ifindex -> ifindex (u32 each). Interfaces on whose hooks our programs stand, to which
 * packets that have waited may come back. Written by the agent; the kernel takes an entry away with its interface, so
 * that one that is made anew under the same index is another. */

/* grantd_usage: LRU_HASH. What limited guests sent and received. Written by BPF alone; the
 * agent takes away those of guests that are gone. */
struct grantd_usage_key {
	__u32 endpoint_id;
	__u32 direction; /* enum grantd_direction */
};
GRANTD_ASSERT_SIZE(grantd_usage_key, 8);

/* In L2 frame bytes on the wire, as the bucket is charged. */
struct grantd_usage {
	__u64 allowed_bytes;
	__u64 allowed_packets;
	__u64 queued_bytes; /* of all, those that were put into a queue */
	__u64 queued_packets;
	__u64 returned_bytes; /* of the queued ones, those that came back; the rest waits, or was dropped by the queue */
	__u64 returned_packets;
	__u64 refused_bytes; /* for the rate: by the bucket */
	__u64 refused_packets;
};
GRANTD_ASSERT_SIZE(grantd_usage, 64);

/* grantd_delay: ARRAY, key GRANTD_BUCKET_INDEX(slot, direction). How long packets waited. Written by BPF alone. */
#define GRANTD_DELAY_BINS 14 /* bin n: below 2^n x 128 us, and not below that of n - 1; the last one: all others */
#define GRANTD_DELAY_FIRST_US 128
struct grantd_delay {
	__u64 grant_epoch; /* of the Grant that was counted; another: counted from zero */
	__u64 total_us;
	__u64 packets[GRANTD_DELAY_BINS];
};
GRANTD_ASSERT_SIZE(grantd_delay, 128);

#endif
