/* Two clocks: exact, and as of this CPU's last tick. Reading the exact one for every packet was a quarter of the cost
 * of an established flow (measured); what ends or begins anything is always held to it. */
#ifndef GRANTD_BPF_CLOCK_H
#define GRANTD_BPF_CLOCK_H

#include "bpf/packet.h"

ALWAYS_INLINE __u64 exact_now_ns(void)
{
	return bpf_ktime_get_boot_ns();
}

/* At most a tick old. Jiffies stand still while the machine is suspended, and go on with the first tick after. */
ALWAYS_INLINE __u64 tick_now_ns(void)
{
	__u32 only = 0;
	volatile struct grantd_clock *clock;
	__u64 tick, now_ns;

	if (dry_run)
		return exact_now_ns();
	clock = bpf_map_lookup_elem(&grantd_clock, &only);
	if (!clock)
		return exact_now_ns();
	tick = bpf_jiffies64();
	if (clock->tick == tick)
		return clock->now_ns;
	now_ns = exact_now_ns();
	clock->now_ns = now_ns;
	clock->tick = tick;
	return now_ns;
}

#endif
