/* Names for people. The datapath reads none of this; grantctl and bpftool do, so that numbers
 * in the other maps can be told apart when no agent runs. Written by the agent. */
#ifndef GRANTD_ABI_ABOUT_H
#define GRANTD_ABI_ABOUT_H

#include "maps/abi/base.h"

#define GRANTD_NAME_BYTES 256	/* a Kubernetes name is at most 253 */
#define GRANTD_GRANT_NAME_BYTES 320 /* NAMESPACE/NAME: 63 + 1 + 253 */
#define GRANTD_PATH_BYTES 256
#define GRANTD_TEXT_BYTES 128
#define GRANTD_UID_BYTES 64 /* a pod's is at most 63 here, 36 as Kubernetes makes them */

enum grantd_phase {
	GRANTD_PHASE_PENDING = 0,
	GRANTD_PHASE_ACTIVE = 1,
	GRANTD_PHASE_REVOKED = 2,
	GRANTD_PHASE_EXPIRED = 3,
};

/* grantd_slotname: HASH, key slot (u32). */
struct grantd_slotname {
	char grant[GRANTD_GRANT_NAME_BYTES]; /* NAMESPACE/NAME */
	char grantor[GRANTD_NAME_BYTES];
	char grantee[GRANTD_NAME_BYTES];
	char file[GRANTD_PATH_BYTES];
	__u32 line;
	__u32 phase; /* enum grantd_phase, when last compiled: the datapath's clock may be ahead */
	__u64 valid_from_seconds;  /* Unix time; 0: not bounded */
	__u64 valid_until_seconds; /* Unix time; 0: not bounded */
};
GRANTD_ASSERT_SIZE(grantd_slotname, 1112);

enum grantd_identity_kind {
	GRANTD_IDENTITY_KIND_REALM = 1,
	GRANTD_IDENTITY_KIND_GRANT = 2, /* guests of this Grant */
};

/* grantd_idname: HASH, key identity (u32). */
struct grantd_idname {
	__u32 kind; /* enum grantd_identity_kind */
	char name[GRANTD_GRANT_NAME_BYTES]; /* the realm's name, or NAMESPACE/NAME of the Grant */
};
GRANTD_ASSERT_SIZE(grantd_idname, 324);

/* grantd_guest: HASH, key endpoint_id (u32). */
struct grantd_guest {
	char guest[GRANTD_GRANT_NAME_BYTES]; /* NAMESPACE/NAME of a pod, or a Workload's name */
	char uid[GRANTD_UID_BYTES]; /* of the pod; empty for a Workload. The same name with another uid is another guest */
	char interface[16]; /* IFNAMSIZ; empty on the host network */
	char file[GRANTD_PATH_BYTES];
	__u32 line;
	__u32 ifindex;
	__u32 slot;
	__u32 pad;
	char quarantine[GRANTD_TEXT_BYTES]; /* why, where slot is 0; else empty */
};
GRANTD_ASSERT_SIZE(grantd_guest, 800);

/* grantd_source: HASH, where a range came from. */
struct grantd_source_key {
	__u32 rules_id;
	__u16 source; /* grantd_range.source */
	__u16 pad;
};
GRANTD_ASSERT_SIZE(grantd_source_key, 8);

struct grantd_source {
	char text[GRANTD_TEXT_BYTES]; /* the entry as written, cut to fit */
	char file[GRANTD_PATH_BYTES];
	__u32 line;
	__u32 pad;
};
GRANTD_ASSERT_SIZE(grantd_source, 392);

/* grantd_node: ARRAY of one. */
struct grantd_node {
	char node[GRANTD_NAME_BYTES];
	char version[64];	    /* of the agent that wrote last */
	char manifests[GRANTD_PATH_BYTES];
	__u64 next_policy_id;	    /* numbers that are never used again while the maps live */
	__u64 next_endpoint_version;
	__u32 next_endpoint_id;
	__u32 next_rules_id;
	__u32 stamp_mask;
	__u32 pid;
	__u64 applied_at_ns;	    /* CLOCK_BOOTTIME of the last complete apply */
	__u64 boot_to_wall_ns;	    /* add to CLOCK_BOOTTIME for Unix time, when last reckoned */
};
GRANTD_ASSERT_SIZE(grantd_node, 624);

#endif
