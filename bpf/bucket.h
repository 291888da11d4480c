/* Token buckets (rule 12): one a Grant and direction, shared by all CPUs.
 * Cost: one per-CPU array lookup; once a quantum the shared bucket under its lock. A guest of the host network: always
 * that. */
#ifndef GRANTD_BPF_BUCKET_H
#define GRANTD_BPF_BUCKET_H

#include "bpf/bucket_level.h"
#include "bpf/queue.h"

NOINLINE __u64 draw(struct grantd_bucket *bucket, const struct grantd_limit *limit, __u64 grant_epoch, __u64 need,
		    __u64 want)
{
	__u64 taken, now_ns = exact_now_ns();

	if (!bucket || !limit)
		return 0;
	bpf_spin_lock(&bucket->lock);
	taken = take_level(bucket, limit, grant_epoch, now_ns, need, want);
	bpf_spin_unlock(&bucket->lock);
	return taken;
}

/* Takes nothing: no bucket holds as much. But another limit counts from now on. */
ALWAYS_INLINE void settle(const struct grantd_policy *policy, __u32 slot, __u32 direction)
{
	__u32 index = GRANTD_BUCKET_INDEX(slot, direction);

	if (policy->limit[direction].rate_bps)
		draw(bpf_map_lookup_elem(&grantd_bucket, &index), &policy->limit[direction], policy->grant_epoch, ~0ULL,
		     ~0ULL);
}

/* Time counts at the rate with which a bucket was drawn on last. So the agent runs this when it has published a policy of
 * the slot in cb[0]: else who is silent over a change is filled at the rate of before. Runs for no packet. */
SEC("tc")
int settle_buckets(struct __sk_buff *skb)
{
	__u32 slot = skb->cb[0];
	const struct grantd_grant *grant = bpf_map_lookup_elem(&grantd_grant, &slot);
	__u64 policy_id = grant ? *(volatile __u64 *)&grant->policy_id : 0;
	const struct grantd_policy *policy = bpf_map_lookup_elem(&grantd_policy, &policy_id);

	if (policy && policy->slot == slot) {
		settle(policy, slot, GRANTD_EGRESS);
		settle(policy, slot, GRANTD_INGRESS);
	}
	return VERDICT_DROP;
}

/* Takes what the packet costs out of the Grant's bucket. */
ALWAYS_INLINE enum grantd_reason pay(struct packet *packet, __u32 direction, enum grantd_reason reason)
{
	const struct grantd_policy *policy = packet->policy;
	const struct grantd_limit *limit = &policy->limit[direction];
	__u32 index = GRANTD_BUCKET_INDEX(packet->slot, direction);
	__u64 bytes = packet->wire_bytes, need, taken;
	struct grantd_credit *credit;

	/* A socket's program may be interrupted, by one that spends the same credit. */
	if (packet->endpoint->flags & GRANTD_ENDPOINT_HOST_NETWORK)
		return draw(bpf_map_lookup_elem(&grantd_bucket, &index), limit, policy->grant_epoch, bytes, bytes) ?
			       reason :
			       GRANTD_REASON_RATE_LIMIT;
	credit = bpf_map_lookup_elem(&grantd_credit, &index);
	if (!credit)
		return GRANTD_REASON_TABLE_MISSING;
	if (credit->grant_epoch != policy->grant_epoch) {
		credit->grant_epoch = policy->grant_epoch;
		credit->bytes = 0;
	}
	/* What a higher limit lent is more than this one's burst leaves room for. */
	if (credit->bytes > limit->quantum_bytes)
		credit->bytes = limit->quantum_bytes;
	if (credit->bytes < bytes) {
		need = bytes - credit->bytes;
		taken = draw(bpf_map_lookup_elem(&grantd_bucket, &index), limit, policy->grant_epoch, need,
			     need > limit->quantum_bytes ? need : limit->quantum_bytes);
		if (!taken)
			return GRANTD_REASON_RATE_LIMIT;
		credit->bytes += taken;
	}
	credit->bytes -= bytes;
	return reason;
}

/* What a limited guest used, refused and all. */
NOINLINE int count_usage(const struct packet *packet, __u32 direction, __u32 allowed)
{
	struct grantd_usage *usage;

	if (!packet)
		return 0;
	usage = usage_of(packet->endpoint_id, direction);
	if (!usage)
		return 0;
	__sync_fetch_and_add(allowed ? &usage->allowed_bytes : &usage->refused_bytes, packet->wire_bytes);
	__sync_fetch_and_add(allowed ? &usage->allowed_packets : &usage->refused_packets, packet->segments);
	if (packet->waited) {
		__sync_fetch_and_add(&usage->returned_bytes, packet->wire_bytes);
		__sync_fetch_and_add(&usage->returned_packets, packet->segments);
	}
	return 0;
}

/* A packet that has to wait pays when it comes back. */
ALWAYS_INLINE enum grantd_reason charge(const struct __sk_buff *skb, struct packet *packet, __u32 direction,
					enum grantd_reason reason)
{
	if (!packet->policy->limit[direction].rate_bps || dry_run)
		return reason;
	if (has_waited(skb, direction))
		take_back(skb, packet, direction);
	else if (must_wait(packet, direction))
		return reason;
	reason = pay(packet, direction, reason);
	count_usage(packet, direction, passes(reason));
	return reason;
}

#endif
