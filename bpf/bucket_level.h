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

/* The debt under another limit, as time: what was owed before and what was reckoned at the old rate, the same bytes as
 * ever. What an empty bucket of the new burst does not lack stays owed until there is room: forgiving it would give it
 * away at every change. Rounded up. A debt that no bucket of ours can have, for the loader's side bounds burst_ns below
 * 2^39, is that of an empty one; so nothing here overflows. */
BUCKET_INLINE __u64 convert_debt(struct grantd_bucket *bucket, __u64 debt_ns, const struct grantd_limit *limit)
{
	__u64 cost = bucket->cost_per_byte >> 4, bytes, most;

	if (!cost || !limit->cost_per_byte || debt_ns >= 1ULL << 43)
		return limit->burst_ns;
	bytes = bucket->owed_bytes + (debt_ns << (GRANTD_COST_SHIFT - 4)) / cost + 1;
	most = (limit->burst_ns << GRANTD_COST_SHIFT) / limit->cost_per_byte;
	bucket->owed_bytes = bytes > most ? bytes - most : 0;
	return cost_of(bytes - bucket->owed_bytes, limit->cost_per_byte);
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
		bucket->owed_bytes = 0;
		ahead = 0;
	} else if (bucket->cost_per_byte != limit->cost_per_byte || bucket->burst_bytes != most) {
		ahead = convert_debt(bucket, ahead, limit);
	}
	bucket->cost_per_byte = limit->cost_per_byte;
	bucket->burst_bytes = most;
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
