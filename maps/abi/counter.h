/* Evidence: counters and events. Written by BPF alone. */
#ifndef GRANTD_ABI_COUNTER_H
#define GRANTD_ABI_COUNTER_H

#include "maps/abi/base.h"
#include "maps/abi/reasons.h"

/* grantd_counter: ARRAY_OF_MAPS, slot (u32) -> PERCPU_ARRAY of these by
 * GRANTD_COUNTER_INDEX(direction, reason). One table a Grant: a slot that goes to another
 * Grant gets a new one and starts at zero. Slot 0 counts for guests without a Grant. */
struct grantd_counter {
	__u64 packets;	     /* on the wire: a segmentation-offload packet counts once a segment */
	__u64 bytes;	     /* L2 frame bytes on the wire */
	__u64 last_seen_ns;  /* CLOCK_BOOTTIME */
	__u64 last_event_ns; /* CLOCK_BOOTTIME; when grantd_event was last told */
};
GRANTD_ASSERT_SIZE(grantd_counter, 32);
#define GRANTD_COUNTER_INDEX(direction, reason) ((direction) * GRANTD_REASON_LIMIT + (reason))
#define GRANTD_COUNTERS (GRANTD_DIRECTIONS * GRANTD_REASON_LIMIT)

/* grantd_event: RINGBUF of these. Drops and new flows, sampled: see GRANTD_EVENT_INTERVAL_NS. */
struct grantd_event {
	__u64 time_ns;	   /* CLOCK_BOOTTIME */
	__u64 packets;	   /* the counter of this slot, direction and reason on this CPU by now */
	__u64 policy_id;   /* 0 where none was reached */
	__u32 slot;
	__u32 endpoint_id; /* 0 where none was found */
	__u32 ifindex;
	__u32 identity;	   /* of the sender, direction ingress */
	__u32 wire_bytes;
	__u8 reason;	   /* enum grantd_reason */
	__u8 direction;	   /* enum grantd_direction */
	__u8 protocol;	   /* IPPROTO_*; 0 where not reached */
	__u8 tcp_flags;
	__u16 ethertype;   /* host byte order */
	__u16 source_port; /* host byte order */
	__u16 destination_port;
	__u16 pad;
	struct grantd_address source; /* :: where not reached */
	struct grantd_address destination;
};
GRANTD_ASSERT_SIZE(grantd_event, 88);
GRANTD_ASSERT_OFFSET(grantd_event, reason, 44);
GRANTD_ASSERT_OFFSET(grantd_event, source, 56);

/* What the dry_run instance found, in its own global variable grantd_explanation. */
struct grantd_explanation {
	__u64 policy_id;
	__u32 reason;	    /* enum grantd_reason */
	__u32 slot;
	__u32 endpoint_id;
	__u32 identity;	    /* of the other end, where one was looked up */
	__u32 rules_id;
	__u16 source;	    /* of the range that admitted, see grantd_range; 0 where none did */
	__u8 by_identity;   /* 1: grantd_idrule decided; 0: grantd_rule */
	__u8 concluded;	    /* 1: conclude() was reached */
};
GRANTD_ASSERT_SIZE(grantd_explanation, 32);

#endif
