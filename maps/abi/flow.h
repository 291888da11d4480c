/* What the datapath remembers. Written by BPF alone; user space reads. */
#ifndef GRANTD_ABI_FLOW_H
#define GRANTD_ABI_FLOW_H

#include "maps/abi/base.h"
#include "maps/abi/limits.h"

enum grantd_initiator {
	GRANTD_INITIATOR_GUEST = 1,
	GRANTD_INITIATOR_PEER = 2,
};

/* grantd_flow: ARRAY_OF_MAPS, slot (u32) -> LRU_HASH of these. One table a Grant, so that
 * a flood evicts only its own. */
struct grantd_flow_key {
	__u32 endpoint_id;
	__u8 protocol;	     /* IPPROTO_TCP, _UDP, _SCTP, _ICMP (both families) */
	__u8 echo_initiator; /* enum grantd_initiator for ICMP, whose echo id may serve both; else 0 */
	__u16 pad;
	struct grantd_address local_address; /* the guest's */
	struct grantd_address peer_address;
	__u16 local_port; /* host byte order; the echo id for ICMP */
	__u16 peer_port;  /* host byte order; 0 for ICMP */
};
GRANTD_ASSERT_SIZE(grantd_flow_key, 44);

#define GRANTD_FLOW_CLOSING 1U	      /* FIN or RST seen: the idle time is short */
#define GRANTD_FLOW_LIMITED_EGRESS 2U  /* the policy limits this direction: its bucket is to be charged */
#define GRANTD_FLOW_LIMITED_INGRESS 4U

/* not_after_ns, guest_identity and the limits are the admitting policy's: while that is in force, a packet of the
 * flow needs no look at the policy itself, which is written once. */
struct grantd_flow {
	__u64 seal;	     /* of the key and of all that never changes here (decision 70) */
	__u64 policy_id;     /* that admitted it; another one in force: judged again */
	__u64 not_after_ns;  /* CLOCK_BOOTTIME */
	__u64 last_seen_ns;  /* CLOCK_BOOTTIME, in steps of GRANTD_LAST_SEEN_STEP_NS */
	__u32 peer_identity; /* of a flow that the peer began */
	__u32 realm_epoch;   /* 0: the peer's identity is in doubt, replies wait */
	__u32 initiator;     /* enum grantd_initiator */
	__u32 flags;	     /* GRANTD_FLOW_* */
	__u32 guest_identity; /* what from_guest stamps */
	__u32 pad;
};
GRANTD_ASSERT_SIZE(grantd_flow, 56);

/* How long a flow of this protocol may be idle. Whoever asks has IPPROTO_* from a header of its own side. */
#define GRANTD_FLOW_IDLE_NS(protocol, flags) \
	((protocol) == IPPROTO_TCP ? ((flags) & GRANTD_FLOW_CLOSING ? GRANTD_IDLE_TCP_CLOSING_NS : GRANTD_IDLE_TCP_NS) : \
	 (protocol) == IPPROTO_UDP ? GRANTD_IDLE_UDP_NS : \
	 (protocol) == IPPROTO_SCTP ? GRANTD_IDLE_SCTP_NS : GRANTD_IDLE_ICMP_NS)

/* grantd_frag: ARRAY_OF_MAPS, slot (u32) -> LRU_HASH of these. */
struct grantd_frag_key {
	__u32 endpoint_id;
	__u32 id; /* as on the wire; IPv4 ids in the low 16 bits */
	struct grantd_address source;
	struct grantd_address destination;
	__u8 protocol;	/* as on the wire */
	__u8 direction; /* enum grantd_direction */
	__u16 pad;
};
GRANTD_ASSERT_SIZE(grantd_frag_key, 44);

struct grantd_frag {
	__u64 seal; /* of the key and of all else */
	__u64 policy_id;
	__u64 first_seen_ns; /* CLOCK_BOOTTIME */
	__u32 header_bytes;  /* of L4, which no later fragment may touch */
	__u32 identity;	     /* that the later ones must carry too; 0: any */
};
GRANTD_ASSERT_SIZE(grantd_frag, 32);

/* grantd_seal: ARRAY of one. By which seals are made, and forged by nobody who only sends packets. Written by the
 * agent, once, and as old as the tables. */
struct grantd_seal {
	__u64 secret; /* never 0 */
};
GRANTD_ASSERT_SIZE(grantd_seal, 8);

#define GRANTD_SEAL_NUMBERS 16 /* that follow from the secret: maps/seal_numbers.h */

#endif
