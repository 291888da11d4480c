/* Which tables stand in the arrays of maps. The agent could ask the kernel for one after the other; but before Linux
 * 6.8 each such answer waits for a grace period of RCU, and 4,096 slots would take minutes. Runs for no packet. */
#ifndef GRANTD_BPF_TABLES_H
#define GRANTD_BPF_TABLES_H

#include "bpf/kernel_types.h"
#include "bpf/maps.h"
#include "maps/abi/tables.h"

#define TABLE_ID(outer, slot)                                                                      \
	({                                                                                         \
		const struct bpf_map *table = bpf_map_lookup_elem(outer, slot);                    \
		table ? table->id : 0;                                                             \
	})

SEC("syscall")
int read_tables(struct grantd_tables *tables)
{
#pragma clang loop unroll(full) /* the context is read and written at constant offsets only */
	for (int i = 0; i < GRANTD_TABLES_AT_ONCE; i++) {
		__u32 slot = tables->first_slot + i;

		tables->slots[i].counter = TABLE_ID(&grantd_counter, &slot);
		tables->slots[i].frag = TABLE_ID(&grantd_frag, &slot);
		tables->slots[i].flow = TABLE_ID(&grantd_flow, &slot);
	}
	return 0;
}

#endif
