/* The arithmetic of a token bucket, by itself: no lock, no clock, no map. tests/unit runs it through any sequence of
 * arrivals. */
#ifndef GRANTD_BPF_BUCKET_LEVEL_H
#define GRANTD_BPF_BUCKET_LEVEL_H

#include "maps/abi/bucket.h"
#include "maps/abi/policy.h"

#define BUCKET_INLINE static inline __attribute__((always_inline))

BUCKET_INLINE __u64 cost_of(__u64 bytes, __u64 cost_per_byte)
{
	return ((bytes * cost_per_byte) >> GRANTD_COST_SHIFT) + 1; /* never too cheap */
}

/* Debt that was reckoned at another rate, as time at this one. It may be more than a smaller burst holds: forgiving the
 * rest would give it away at every change. The loader's side bounds burst_ns below 2^39, and a debt that would last longer
 * is cut there, so nothing here overflows. */
BUCKET_INLINE __u64 convert_debt(__u64 debt_ns, __u64 old_cost, const struct grantd_limit *limit)
{
	__u64 bytes, most;

	old_cost >>= 4;
	if (!old_cost || !limit->cost_per_byte || debt_ns >= 1ULL << 43)
		return limit->burst_ns;
	bytes = (debt_ns << (GRANTD_COST_SHIFT - 4)) / old_cost + 1;
	most = (1ULL << 63) / limit->cost_per_byte;
	return cost_of(bytes < most ? bytes : most, limit->cost_per_byte);
}

/* Takes `want` bytes out of the bucket, or `need` of them where it does not hold as much. Returns the bytes taken; 0 where
 * it holds less than what is needed. What a full one does not hold is not reckoned: a guest may make packets whose
 * cost has more than 64 bits. */
BUCKET_INLINE __u64 take_level(struct grantd_bucket *bucket, const struct grantd_limit *limit, __u64 grant_epoch,
			       __u64 now_ns, __u64 need, __u64 want)
{
	__u64 most = limit->burst_bytes;
	__u64 ahead = bucket->full_at_ns > now_ns ? bucket->full_at_ns - now_ns : 0, taken = 0;

	if (bucket->grant_epoch != grant_epoch) {
		bucket->grant_epoch = grant_epoch;
		bucket->cost_per_byte = limit->cost_per_byte;
		ahead = 0;
	} else if (bucket->cost_per_byte != limit->cost_per_byte) {
		if (ahead)
			ahead = convert_debt(ahead, bucket->cost_per_byte, limit);
		bucket->cost_per_byte = limit->cost_per_byte;
	}
	if (want <= most && ahead + cost_of(want, limit->cost_per_byte) <= limit->burst_ns)
		taken = want;
	else if (need <= most && ahead + cost_of(need, limit->cost_per_byte) <= limit->burst_ns)
		taken = need;
	if (taken)
		ahead += cost_of(taken, limit->cost_per_byte);
	bucket->full_at_ns = now_ns + ahead;
	return taken;
}

#endif
