/* What the program read_tables answers: which tables stand in the arrays of maps. */
#ifndef GRANTD_ABI_TABLES_H
#define GRANTD_ABI_TABLES_H

#include "maps/abi/base.h"

#define GRANTD_TABLES_AT_ONCE 32

struct grantd_slot_tables { /* ids of the kernel's maps; 0: none */
	__u32 counter;
	__u32 frag;
	__u32 flow;
};
GRANTD_ASSERT_SIZE(grantd_slot_tables, 12);

/* The context of read_tables, in and out. */
struct grantd_tables {
	__u32 first_slot;
	struct grantd_slot_tables slots[GRANTD_TABLES_AT_ONCE]; /* from first_slot on */
};
GRANTD_ASSERT_SIZE(grantd_tables, 388);

#endif
