/* A Grant as this node enforces it. */
#ifndef GRANTD_ABI_POLICY_H
#define GRANTD_ABI_POLICY_H

#include "maps/abi/base.h"
#include "maps/abi/limits.h"

/* grantd_grant: ARRAY, mmapable. slot (u32) -> policy_id in force; 0: quarantine.
 * Written by the agent alone, with one aligned store: this is the moment of publication.
 * policy_id is never used again. */
struct grantd_grant {
	__u64 policy_id;
};
GRANTD_ASSERT_SIZE(grantd_grant, 8);

/* Limit of one direction. rate_bps 0: unlimited, nothing else is read. */
struct grantd_limit {
	__u64 rate_bps;
	__u64 burst_bytes;
	__u64 cost_per_byte;  /* nanoseconds per byte << GRANTD_COST_SHIFT, rounded up */
	__u64 burst_ns;	      /* time in which the rate fills burst_bytes less a quantum of each CPU, rounded down */
	__u64 quantum_bytes;  /* what a CPU borrows from the bucket at a time */
};
GRANTD_ASSERT_SIZE(grantd_limit, 40);
#define GRANTD_COST_SHIFT 24

#define GRANTD_TIME_NEVER 0xffffffffffffffffULL

/* grantd_policy: HASH, key policy_id (u64). Written once by the agent, before it is published;
 * removed no sooner than a second after it is no longer in force. */
struct grantd_policy {
	__u64 not_before_ns; /* CLOCK_BOOTTIME; 0: always */
	__u64 not_after_ns;  /* CLOCK_BOOTTIME, first instant that is too late; GRANTD_TIME_NEVER */
	__u64 grant_epoch;   /* changes when the slot goes to another Grant: buckets start anew */
	__u32 rules_id;	     /* which rules of grantd_rule and grantd_idrule; never used again */
	__u32 slot;
	__u32 realm_epoch;   /* changes when a realm in these rules loses addresses; never 0 */
	__u32 end_reason;    /* enum grantd_reason from not_after_ns on: EXPIRED or REVOKED */
	__u32 identity;	     /* of this Grant's guests: what from_guest stamps */
	__u32 grantor_identity;
	__u32 grantee_identity;
	__u32 pad;
	struct grantd_limit limit[GRANTD_DIRECTIONS];
};
GRANTD_ASSERT_SIZE(grantd_policy, 136);

/* What one entry opens. Ports are the ones that the initiator sends to. For ICMP (one number
 * for both families: IPPROTO_ICMP) the ports are not looked at: only echo requests begin flows. */
struct grantd_range {
	__u8 protocol; /* IPPROTO_TCP, _UDP, _SCTP, _ICMP; 0: all four */
	__u8 pad;
	__u16 source;  /* which entry of the manifest, in grantd_source; 0: a default of the design */
	__u16 low;
	__u16 high;    /* inclusive */
};
GRANTD_ASSERT_SIZE(grantd_range, 8);

/* grantd_rule: LPM, the rules by address. prefixlen = 64 + the prefix's own length.
 * Written by the agent before the policy that uses rules_id; never changed after. */
struct grantd_rule_key {
	__u32 prefixlen;
	__u32 rules_id;
	__u8 direction; /* enum grantd_direction */
	__u8 family;	/* enum grantd_family */
	__u16 pad;
	__u8 address[16];
};
GRANTD_ASSERT_SIZE(grantd_rule_key, 28);
#define GRANTD_RULE_KEY_FIXED_BITS 64

/* grantd_idrule: HASH, the rules by identity; the same value. */
struct grantd_idrule_key {
	__u32 rules_id;
	__u32 identity;
	__u32 direction; /* enum grantd_direction */
};
GRANTD_ASSERT_SIZE(grantd_idrule_key, 12);

/* The longest prefix answers alone, so compile has already merged into it what wider
 * prefixes open (rule 8). count 0: a hole in a wider prefix, such as a protected range. */
struct grantd_ranges {
	__u16 count;
	__u16 protected_range; /* 1: the entry stands for a protected range */
	__u32 pad;
	struct grantd_range range[GRANTD_RANGES_PER_RULE];
};
GRANTD_ASSERT_SIZE(grantd_ranges, 136);

#endif
