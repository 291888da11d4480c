/* Shaping (decision 42): a packet of a limited Grant that may pass waits in a queue first, and comes back to the same
 * hook, where it is judged again as if it had just arrived, and charged. So the bucket holds whatever becomes of the
 * queue, and an end of the Grant drops what waits.
 *
 *   from_guest, to_guest --redirect--> queue_ifindex [HTB] ==pair== release_ifindex, from_queue --redirect--> the same
 * hook
 *
 * What must come back with the packet travels in skb->cb, which nothing between the two ends touches. Only a packet of
 * a limited direction gets here. */
#ifndef GRANTD_BPF_QUEUE_H
#define GRANTD_BPF_QUEUE_H

#include "bpf/clock.h"
#include "bpf/conclude.h"

/* skb->cb[] of what waits, or has waited. */
enum {
	WAIT_SECRET = 0,
	WAIT_IFINDEX = 1,  /* of the guest's interface */
	WAIT_SINCE = 2,	   /* us, the low 32 bits */
	WAIT_WHAT = 3,	   /* direction, whether a socket sent it, reason, the sender's identity */
	WAIT_PRIORITY = 4, /* the packet's own: HTB reads the class from it */
};
#define WAIT_WITHOUT_SOCKET 2U
#define WAIT_REASON_SHIFT 8
#define WAIT_IDENTITY_SHIFT 16

ALWAYS_INLINE const struct grantd_shaper *find_shaper(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&grantd_shaper, &only);
}

/* On the way to the guest the kernel says where a packet came from, so nobody can pretend. On the way from the guest
 * the secret says it; a guest that knew it would only go to the bucket without waiting. */
ALWAYS_INLINE bool has_waited(const struct __sk_buff *skb, __u32 direction)
{
	const struct grantd_shaper *shaper;

	if (!skb->cb[WAIT_SECRET])
		return false;
	shaper = find_shaper();
	return shaper && skb->cb[WAIT_SECRET] == shaper->secret &&
	       (direction == GRANTD_EGRESS || skb->ingress_ifindex == shaper->release_ifindex);
}

/* The sender of what has waited, as it was said when it came: the mark may be somebody's whom the first judgement did not
 * believe, and the local node has none. */
ALWAYS_INLINE bool recall_sender(const struct __sk_buff *skb, struct packet *packet)
{
	if (!has_waited(skb, GRANTD_INGRESS))
		return false;
	packet->late = true;
	packet->identity = skb->cb[WAIT_WHAT] >> WAIT_IDENTITY_SHIFT;
	packet->without_socket = !!(skb->cb[WAIT_WHAT] & WAIT_WITHOUT_SOCKET);
	return true;
}

NOINLINE struct grantd_usage *usage_of(__u32 endpoint_id, __u32 direction)
{
	struct grantd_usage_key key = { .endpoint_id = endpoint_id, .direction = direction };
	struct grantd_usage *usage = bpf_map_lookup_elem(&grantd_usage, &key), zero = {};

	if (usage)
		return usage;
	bpf_map_update_elem(&grantd_usage, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&grantd_usage, &key);
}

/* True where the packet has to wait: nothing is charged yet. */
ALWAYS_INLINE bool must_wait(struct packet *packet, __u32 direction)
{
	const struct grantd_shaper *shaper;
	const struct grantd_queue *queue;
	struct grantd_usage *usage;

	if (!packet->endpoint || packet->endpoint->flags & (GRANTD_ENDPOINT_LAYER3 | GRANTD_ENDPOINT_HOST_NETWORK))
		return false;
	queue = bpf_map_lookup_elem(&grantd_queue, &packet->endpoint_id);
	if (!queue || !queue->class_id[direction])
		return false;
	shaper = find_shaper();
	if (!shaper || !shaper->queue_ifindex || !shaper->secret)
		return false;
	packet->queue_class = queue->class_id[direction];
	packet->queue_ifindex = shaper->queue_ifindex;
	usage = usage_of(packet->endpoint_id, direction);
	if (usage) {
		__sync_fetch_and_add(&usage->queued_bytes, packet->wire_bytes);
		__sync_fetch_and_add(&usage->queued_packets, packet->segments);
	}
	return true;
}

NOINLINE int count_delay(__u32 index, __u64 grant_epoch, __u32 waited_us)
{
	struct grantd_delay *delay = bpf_map_lookup_elem(&grantd_delay, &index);
	__u32 bin = 0, bound = GRANTD_DELAY_FIRST_US;

	if (!delay)
		return 0;
	if (delay->grant_epoch != grant_epoch) {
		__builtin_memset(delay, 0, sizeof(*delay));
		delay->grant_epoch = grant_epoch;
	}
	for (; bin < GRANTD_DELAY_BINS - 1 && waited_us >= bound; bin++)
		bound <<= 1;
	if (bin < GRANTD_DELAY_BINS) {
		__sync_fetch_and_add(&delay->packets[bin], 1);
		__sync_fetch_and_add(&delay->total_us, waited_us);
	}
	return 0;
}

ALWAYS_INLINE void take_back(const struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	packet->waited = true;
	packet->waited_reason = skb->cb[WAIT_WHAT] >> WAIT_REASON_SHIFT;
	count_delay(GRANTD_BUCKET_INDEX(packet->slot, direction), packet->policy->grant_epoch,
		    (__u32)(exact_now_ns() / 1000) - skb->cb[WAIT_SINCE]);
}

/* Who may begin a flow begins it before the packet waits; when it comes back the flow is there. It is counted as what
 * it was. */
ALWAYS_INLINE enum grantd_reason as_it_began(const struct packet *packet, enum grantd_reason reason)
{
	return packet->waited && reason == GRANTD_REASON_ESTABLISHED && packet->waited_reason == GRANTD_REASON_NEW_FLOW
		       ? GRANTD_REASON_NEW_FLOW
		       : reason;
}

/* The way out of a guest's hook: into the queue, or for good. */
ALWAYS_INLINE int leave(struct __sk_buff *skb, struct packet *packet, __u32 direction, enum grantd_reason reason)
{
	const struct grantd_shaper *shaper;

	if (packet->waited)
		skb->cb[WAIT_SECRET] = 0;
	if (!packet->queue_class || !passes(reason))
		return conclude(packet, skb->ifindex, direction, as_it_began(packet, reason));
	shaper = find_shaper();
	skb->cb[WAIT_SECRET] = shaper ? shaper->secret : 0;
	skb->cb[WAIT_IFINDEX] = skb->ifindex;
	skb->cb[WAIT_SINCE] = (__u32)(exact_now_ns() / 1000);
	skb->cb[WAIT_WHAT] = direction | (packet->without_socket ? WAIT_WITHOUT_SOCKET : 0) | reason << WAIT_REASON_SHIFT |
				packet->identity << WAIT_IDENTITY_SHIFT;
	skb->cb[WAIT_PRIORITY] = skb->priority;
	skb->priority = packet->queue_class;
	return bpf_redirect(packet->queue_ifindex, 0);
}

/* Where what has waited comes back. Whatever else is on this link of ours the kernel itself says to nobody. */
SEC("tc")
int from_queue(struct __sk_buff *skb)
{
	const struct grantd_shaper *shaper = find_shaper();
	struct packet packet = { .wire_bytes = skb->len, .segments = 1, .now_ns = tick_now_ns() };
	__u32 ifindex, direction;

	if (!shaper || !shaper->secret || skb->cb[WAIT_SECRET] != shaper->secret)
		return conclude(&packet, skb->ifindex, GRANTD_INGRESS, GRANTD_REASON_LINK_CHATTER);
	ifindex = skb->cb[WAIT_IFINDEX];
	direction = skb->cb[WAIT_WHAT] & 1;
	/* Another interface may have the index by now, and nothing on it judges. */
	if (!bpf_map_lookup_elem(&grantd_device, &ifindex))
		return conclude(&packet, ifindex, direction, GRANTD_REASON_NO_ENDPOINT);
	skb->priority = skb->cb[WAIT_PRIORITY];
	return bpf_redirect(ifindex, direction == GRANTD_EGRESS ? BPF_F_INGRESS : 0);
}

#endif
