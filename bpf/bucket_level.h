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

/* Time and bytes are turned into each other by shifts that overflow beyond. No debt of a bucket of ours lasts as long:
 * the loader's side bounds burst_ns below 2^39. */
#define LONGEST_NS (1ULL << 43)
#define COST_SHIFT 20 /* of a cost without its four lowest bits */

/* Time in which a full bucket was not used works off what is still owed. Rounded down. */
BUCKET_INLINE void work_off(struct grantd_bucket *bucket, __u64 idle_ns)
{
	__u64 bytes = ((idle_ns < LONGEST_NS ? idle_ns : LONGEST_NS - 1) << COST_SHIFT) / ((bucket->cost_per_byte >> 4) + 1);

	bucket->owed_bytes -= bytes < bucket->owed_bytes ? bytes : bucket->owed_bytes;
}

/* The debt under another limit, as time: what was owed before and what was reckoned at the old rate, the same bytes as
 * ever. What an empty bucket of the new burst does not lack stays owed until there is room: forgiving it would give it
 * away at every change. Rounded up. */
BUCKET_INLINE __u64 convert_debt(struct grantd_bucket *bucket, __u64 debt_ns, const struct grantd_limit *limit)
{
	__u64 cost = bucket->cost_per_byte >> 4, bytes = bucket->owed_bytes, most;

	if (!cost || !limit->cost_per_byte || debt_ns >= LONGEST_NS)
		return debt_ns ? limit->burst_ns : 0;
	if (debt_ns)
		bytes += (debt_ns << COST_SHIFT) / cost + 1;
	most = (limit->burst_ns << GRANTD_COST_SHIFT) / limit->cost_per_byte;
	bucket->owed_bytes = bytes > most ? bytes - most : 0;
	bytes -= bucket->owed_bytes;
	return bytes ? cost_of(bytes, limit->cost_per_byte) : 0;
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
	} else {
		if (!ahead && bucket->owed_bytes)
			work_off(bucket, now_ns - bucket->full_at_ns);
		if (bucket->cost_per_byte != limit->cost_per_byte || bucket->burst_bytes != most)
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
