/* What the programs know of the packet in hand. One of these lives on the stack of a program. */
#ifndef GRANTD_BPF_PACKET_H
#define GRANTD_BPF_PACKET_H

#include "bpf/maps.h"
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>

/* The steps return the reason with which they conclude, or this to go on. It is also the reason
 * of a packet that no step concluded, and that one is dropped. */
#define GO_ON GRANTD_REASON_FELL_THROUGH

#define ALWAYS_INLINE static __always_inline
/* Slow paths get a frame of their own: they are not on the path of an established flow. */
#define NOINLINE static __attribute__((noinline))

enum fragment_kind {
	FRAGMENT_NONE = 0, /* also an IPv6 atomic fragment (RFC 6946) */
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

enum group_frame { /* by the destination MAC */
	GROUP_NONE = 0,
	GROUP_MULTICAST,
	GROUP_BROADCAST,
};

struct packet {
	__u64 now_ns; /* of the last tick, until check_policy() looks closer */
	__u64 policy_id;
	const struct grantd_endpoint *endpoint; /* in the map */
	const struct grantd_policy *policy;	/* in the map */
	__u64 endpoint_version;
	__u32 endpoint_id;
	__u32 slot;
	__u32 identity; /* of the sender; ingress only */
	__u32 guest_identity; /* of the guest's Grant; egress stamps it */
	__u32 wire_bytes;
	__u32 segments;

	/* where things are: offsets from the first byte of the frame */
	__u32 l3;
	__u32 l4; /* of a later fragment its payload */
	__u32 l4_bytes; /* L4 header and payload in this frame, by the IP header's word */
	__u32 l4_header_bytes;

	struct grantd_address source; /* v4-mapped for IPv4 */
	struct grantd_address destination;
	__u16 ethertype; /* host byte order */
	__u16 source_port; /* host byte order; the echo id for ICMP */
	__u16 destination_port;
	__u8 family;
	__u8 protocol; /* IPPROTO_ICMP for both families */
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 hop_limit; /* IPv6 only */
	__u8 sctp_chunk;
	__u8 fragment; /* enum fragment_kind */
	__u8 fragment_protocol; /* as on the wire */
	__u8 group_frame; /* enum group_frame */
	__u16 fragment_bytes_before; /* what the fragment's offset says */
	__u16 fragment_header_skip;  /* extension headers between the fragment header and L4 */
	__u32 fragment_id;
	__u8 source_mac[ETH_ALEN];
	__u8 without_socket; /* came in through no interface, and no socket sent it */
	bool late : 1; /* has waited in a queue on the way to the guest */
	bool waited : 1; /* has come back from a queue: bpf/queue.h */

	/* of a limited Grant: bpf/queue.h */
	__u32 queue_class; /* 0: does not wait */
	__u32 queue_ifindex;
	__u8 waited_reason;

	/* for explain */
	__u8 decided_by_identity;
	__u16 decided_by_source;
	__u32 peer_identity;
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP4_ECHO_REPLY 0
#define ICMP4_UNREACHABLE 3
#define ICMP4_REDIRECT 5
#define ICMP4_ECHO_REQUEST 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAMETER_PROBLEM 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_MLD_QUERY 130
#define ICMP6_MLD_DONE 132
#define ICMP6_ROUTER_SOLICITATION 133
#define ICMP6_ROUTER_ADVERTISEMENT 134
#define ICMP6_NEIGHBOUR_SOLICITATION 135
#define ICMP6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMP6_REDIRECT 137
#define ICMP6_MLD2_REPORT 143

ALWAYS_INLINE __u32 word(const struct grantd_address *address, int index)
{
	return ((const __u32 *)address->bytes)[index]; /* network byte order */
}

ALWAYS_INLINE bool same_address(const struct grantd_address *a, const struct grantd_address *b)
{
	return word(a, 3) == word(b, 3) && word(a, 2) == word(b, 2) && word(a, 1) == word(b, 1) &&
	       word(a, 0) == word(b, 0);
}

ALWAYS_INLINE bool is_unspecified(const struct grantd_address *a)
{
	return !(word(a, 0) | word(a, 1) | word(a, 2) | word(a, 3));
}

/* The address is all zeros before. */
ALWAYS_INLINE void set_ipv4(struct grantd_address *address, __u32 ipv4)
{
	__u32 *words = (__u32 *)address->bytes;

	words[2] = bpf_htonl(0xffff);
	words[3] = ipv4;
}

/* An address as the keys of tries have it: IPv4's four bytes alone. Returns its bits. */
ALWAYS_INLINE __u32 set_trie_address(__u8 *bytes, __u8 family, const struct grantd_address *address)
{
	if (family == GRANTD_IPV4) {
		__builtin_memcpy(bytes, &address->bytes[12], 4);
		return 32;
	}
	__builtin_memcpy(bytes, address->bytes, 16);
	return 128;
}

ALWAYS_INLINE bool is_ipv6_link_local(const struct packet *packet, const struct grantd_address *a)
{
	return packet->family == GRANTD_IPV6 && (word(a, 0) & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

ALWAYS_INLINE bool is_multicast(const struct packet *packet, const struct grantd_address *a)
{
	return packet->family == GRANTD_IPV4 ? (word(a, 3) & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) :
					       a->bytes[0] == 0xff;
}

ALWAYS_INLINE bool is_broadcast(const struct packet *packet, const struct grantd_address *a)
{
	return packet->family == GRANTD_IPV4 && word(a, 3) == 0xffffffff;
}

/* Addresses that may be neither source nor destination on a wire (RFC 6890): 0/8, 127/8, 240/4;
 * ::, ::1. (An IPv6 packet with v4-mapped addresses never comes this far: see parse.h.) */
ALWAYS_INLINE bool is_martian(const struct packet *packet, const struct grantd_address *a)
{
	if (packet->family == GRANTD_IPV4) {
		__u8 first = a->bytes[12];

		return first == 0 || first == 127 || first >= 240;
	}
	return !(word(a, 0) | word(a, 1) | word(a, 2)) && (word(a, 3) & ~bpf_htonl(1)) == 0;
}

ALWAYS_INLINE bool is_icmp6(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP && packet->family == GRANTD_IPV6;
}

ALWAYS_INLINE bool is_echo_request(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP &&
	       packet->icmp_type == (packet->family == GRANTD_IPV4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

ALWAYS_INLINE bool is_echo_reply(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP &&
	       packet->icmp_type == (packet->family == GRANTD_IPV4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY);
}

ALWAYS_INLINE bool is_icmp_error(const struct packet *packet)
{
	__u8 type = packet->icmp_type;

	if (packet->protocol != IPPROTO_ICMP)
		return false;
	if (packet->family == GRANTD_IPV4)
		return type == ICMP4_UNREACHABLE || type == ICMP4_TIME_EXCEEDED ||
		       type == ICMP4_PARAMETER_PROBLEM;
	return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM;
}

ALWAYS_INLINE bool is_icmp_redirect(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP &&
	       packet->icmp_type == (packet->family == GRANTD_IPV4 ? ICMP4_REDIRECT : ICMP6_REDIRECT);
}

#endif
