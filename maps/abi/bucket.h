/* Token buckets. Written by BPF alone. */
#ifndef GRANTD_ABI_BUCKET_H
#define GRANTD_ABI_BUCKET_H

#include "maps/abi/base.h"
#include <linux/bpf.h>

/* grantd_bucket: ARRAY, key GRANTD_BUCKET_INDEX(slot, direction). Shared by all CPUs, under lock.
 *
 * The level is kept as a time (generic cell rate algorithm): full_at_ns is when the bucket will
 * be full again. What is taken now costs bytes x cost_per_byte and pushes full_at_ns out; it may
 * not come to lie more than burst_ns ahead. No product of rate and idle time, so none overflows.
 * level in bytes = burst - max(0, full_at_ns - now) x rate. */
struct grantd_bucket {
	struct bpf_spin_lock lock;
	__u32 pad;
	__u64 full_at_ns;    /* CLOCK_BOOTTIME */
	__u64 cost_per_byte; /* that full_at_ns was reckoned with; another in force: converted */
	__u64 grant_epoch;   /* of the Grant that used it last; another: the bucket starts full */
	__u64 burst_bytes;   /* in force then, as cost_per_byte */
	__u64 owed_bytes;    /* of a debt under a larger burst, what this one has no room for (decision 43) */
};
GRANTD_ASSERT_SIZE(grantd_bucket, 48);
#define GRANTD_BUCKET_INDEX(slot, direction) ((slot) * GRANTD_DIRECTIONS + (direction))

/* grantd_credit: PERCPU_ARRAY, the same index. Bytes that this CPU has taken from the bucket
 * and not used yet: already paid for, so the sum over CPUs only ever makes less pass. */
struct grantd_credit {
	__u64 bytes;
	__u64 grant_epoch;
};
GRANTD_ASSERT_SIZE(grantd_credit, 16);

#endif
