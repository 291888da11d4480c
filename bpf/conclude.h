/* The one way out: counts the packet under its reason, tells of it, and gives the verdict.
 * Cost: one lookup in an array of maps, one in a per-CPU array. */
#ifndef GRANTD_BPF_CONCLUDE_H
#define GRANTD_BPF_CONCLUDE_H

#include "bpf/packet.h"

/* The same numbers for tcx and for clsact in direct action: allow means the next program. */
#define VERDICT_NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC */
#define VERDICT_DROP 2	  /* TCX_DROP, TC_ACT_SHOT */

NOINLINE int tell(struct packet *packet, __u32 ifindex, __u32 direction, __u32 reason, __u64 packets)
{
	struct grantd_event *event = bpf_ringbuf_reserve(&grantd_event, sizeof(*event), 0);

	if (!event) /* nobody reads; the counters have it */
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = packet->now_ns;
	event->packets = packets;
	event->policy_id = packet->policy_id;
	event->slot = packet->slot;
	event->endpoint_id = packet->endpoint_id;
	event->ifindex = ifindex;
	event->identity = packet->identity;
	event->wire_bytes = packet->wire_bytes;
	event->reason = reason;
	event->direction = direction;
	event->protocol = packet->protocol;
	event->tcp_flags = packet->tcp_flags;
	event->ethertype = packet->ethertype;
	event->source_port = packet->source_port;
	event->destination_port = packet->destination_port;
	event->source = packet->source;
	event->destination = packet->destination;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

ALWAYS_INLINE struct grantd_counter *counter_of(__u32 slot, __u32 direction, __u32 reason)
{
	__u32 index = GRANTD_COUNTER_INDEX(direction, reason);
	void *table = bpf_map_lookup_elem(&grantd_counter, &slot);

	return table ? bpf_map_lookup_elem(table, &index) : NULL;
}

ALWAYS_INLINE void explain(struct packet *packet, enum grantd_reason reason)
{
	grantd_explanation.policy_id = packet->policy_id;
	grantd_explanation.reason = reason;
	grantd_explanation.slot = packet->slot;
	grantd_explanation.endpoint_id = packet->endpoint_id;
	grantd_explanation.identity = packet->peer_identity;
	grantd_explanation.rules_id = packet->policy ? packet->policy->rules_id : 0;
	grantd_explanation.source = packet->decided_by_source;
	grantd_explanation.by_identity = packet->decided_by_identity;
	grantd_explanation.concluded = 1;
}

ALWAYS_INLINE bool passes(enum grantd_reason reason)
{
	return reason != GRANTD_REASON_FELL_THROUGH && reason < GRANTD_REASON_FIRST_DROP;
}

/* See struct grantd_endpoint: a record that changed while we read it admits nothing. */
ALWAYS_INLINE bool endpoint_changed(const struct packet *packet)
{
	const volatile struct grantd_endpoint *endpoint = packet->endpoint;

	return !endpoint || endpoint->version != packet->endpoint_version ||
	       endpoint->version_again != packet->endpoint_version;
}

ALWAYS_INLINE int conclude(struct packet *packet, __u32 ifindex, __u32 direction, enum grantd_reason reason)
{
	struct grantd_counter *counter;

	if (passes(reason) && endpoint_changed(packet))
		reason = GRANTD_REASON_NO_ENDPOINT;
	if (dry_run) {
		explain(packet, reason);
		return passes(reason) ? VERDICT_NEXT : VERDICT_DROP;
	}
	counter = counter_of(packet->slot, direction, reason);
	if (!counter) {
		/* What cannot be counted does not pass. */
		if (passes(reason))
			reason = GRANTD_REASON_TABLE_MISSING;
		counter = counter_of(0, direction, reason);
	}
	if (counter) {
		counter->packets += packet->segments;
		counter->bytes += packet->wire_bytes;
		counter->last_seen_ns = packet->now_ns;
		if ((!passes(reason) || reason == GRANTD_REASON_NEW_FLOW) &&
		    packet->now_ns >= counter->last_event_ns + GRANTD_EVENT_INTERVAL_NS) {
			counter->last_event_ns = packet->now_ns;
			tell(packet, ifindex, direction, reason, counter->packets);
		}
	}
	return passes(reason) ? VERDICT_NEXT : VERDICT_DROP;
}

#endif
