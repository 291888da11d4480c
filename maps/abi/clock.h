/* The clock of established flows. Written by BPF alone. */
#ifndef GRANTD_ABI_CLOCK_H
#define GRANTD_ABI_CLOCK_H

#include "maps/abi/base.h"

/* grantd_clock: PERCPU_ARRAY of one. What the clock said when this CPU last read it, and the kernel's tick then: until
 * the next tick it is read no more. */
struct grantd_clock {
	__u64 now_ns; /* CLOCK_BOOTTIME */
	__u64 tick;   /* jiffies; now_ns is written first, so an interrupted writer leaves an old tick */
};
GRANTD_ASSERT_SIZE(grantd_clock, 16);

/* A flow that is nearer to its end than this is held to the clock itself. Far longer than a tick: the CPU that
 * advances jiffies may be a virtual one that is not run for a while. */
#define GRANTD_CLOCK_SLACK_NS 60000000000ULL

#endif
