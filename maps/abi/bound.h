/* The limits of this node, for people. The datapath reads none of this. */
#ifndef GRANTD_ABI_BOUND_H
#define GRANTD_ABI_BOUND_H

#include "maps/abi/base.h"

enum grantd_bound_kind {
	GRANTD_BOUND_GRANTS = 0,
	GRANTD_BOUND_ENDPOINTS = 1,
	GRANTD_BOUND_RULES = 2,
	GRANTD_BOUND_REALM_PREFIXES = 3,
	GRANTD_BOUND_IDENTITIES = 4, /* of Realms, of Grants, and this node's own */
	GRANTD_BOUND_FLOWS = 5,	     /* what the flow tables of all Grants hold together */
	GRANTD_BOUNDS = 6,
};

/* grantd_bound: ARRAY, key enum grantd_bound_kind. Written by the agent. */
struct grantd_bound {
	__u64 most;    /* the limit that counts: the setting, or what the pinned maps hold */
	__u64 used;    /* may be above most where a limit was lowered: what is in force stays */
	__u64 refused; /* Grants, guests, Realms or prefixes that this limit keeps out */
};
GRANTD_ASSERT_SIZE(grantd_bound, 24);

#endif
