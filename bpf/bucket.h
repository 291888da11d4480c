/* Token buckets (rule 12): one a Grant and direction, shared by all CPUs.
 * Cost: one per-CPU array lookup; once a quantum the shared bucket under its lock. */
#ifndef GRANTD_BPF_BUCKET_H
#define GRANTD_BPF_BUCKET_H

#include "bpf/clock.h"

ALWAYS_INLINE __u64 cost_of(__u64 bytes, __u64 cost_per_byte)
{
	return ((bytes * cost_per_byte) >> GRANTD_COST_SHIFT) + 1; /* never too cheap */
}

/* Debt that was reckoned at another rate, as time at this one. The loader's side bounds burst_ns
 * below 2^39, so nothing here overflows. */
ALWAYS_INLINE __u64 convert_debt(__u64 debt_ns, __u64 old_cost, const struct grantd_limit *limit)
{
	__u64 bytes;

	old_cost >>= 4;
	if (!old_cost || debt_ns >= 1ULL << 43)
		return limit->burst_ns;
	bytes = (debt_ns << (GRANTD_COST_SHIFT - 4)) / old_cost + 1;
	if (bytes >= limit->burst_bytes)
		return limit->burst_ns;
	return cost_of(bytes, limit->cost_per_byte);
}

/* Takes a quantum out of the shared bucket, or what is needed where it does not hold as much.
 * Returns the bytes taken; 0 where it holds less than what is needed. */
NOINLINE __u64 draw(struct grantd_bucket *bucket, const struct grantd_limit *limit, __u64 grant_epoch,
		    __u64 now_ns, __u64 need)
{
	__u64 want, cost_want, cost_need, burst_ns, ahead, taken = 0;

	if (!bucket || !limit)
		return 0;
	want = need > limit->quantum_bytes ? need : limit->quantum_bytes;
	cost_want = cost_of(want, limit->cost_per_byte);
	cost_need = cost_of(need, limit->cost_per_byte);
	burst_ns = limit->burst_ns;
	bpf_spin_lock(&bucket->lock);
	ahead = bucket->full_at_ns > now_ns ? bucket->full_at_ns - now_ns : 0;
	if (bucket->grant_epoch != grant_epoch) {
		bucket->grant_epoch = grant_epoch;
		bucket->cost_per_byte = limit->cost_per_byte;
		ahead = 0;
	} else if (bucket->cost_per_byte != limit->cost_per_byte) {
		if (ahead)
			ahead = convert_debt(ahead, bucket->cost_per_byte, limit);
		bucket->cost_per_byte = limit->cost_per_byte;
	}
	if (ahead + cost_want <= burst_ns) {
		ahead += cost_want;
		taken = want;
	} else if (ahead + cost_need <= burst_ns) {
		ahead += cost_need;
		taken = need;
	}
	bucket->full_at_ns = now_ns + ahead;
	bpf_spin_unlock(&bucket->lock);
	return taken;
}

ALWAYS_INLINE enum grantd_reason charge(struct packet *packet, __u32 direction, enum grantd_reason reason)
{
	const struct grantd_policy *policy = packet->policy;
	const struct grantd_limit *limit = &policy->limit[direction];
	__u32 index = GRANTD_BUCKET_INDEX(packet->slot, direction);
	__u64 bytes = packet->wire_bytes, need, taken;
	struct grantd_credit *credit;

	if (!limit->rate_bps || dry_run)
		return reason;
	credit = bpf_map_lookup_elem(&grantd_credit, &index);
	if (!credit)
		return GRANTD_REASON_TABLE_MISSING;
	if (credit->grant_epoch != policy->grant_epoch) {
		credit->grant_epoch = policy->grant_epoch;
		credit->bytes = 0;
	}
	if (credit->bytes < bytes) {
		need = bytes - credit->bytes;
		taken = draw(bpf_map_lookup_elem(&grantd_bucket, &index), limit, policy->grant_epoch,
			     exact_now_ns(), need);
		if (!taken)
			return GRANTD_REASON_RATE_LIMIT;
		credit->bytes += taken;
	}
	credit->bytes -= bytes;
	return reason;
}

#endif
