/* From bytes to struct packet. Whatever is not understood is a reason to drop (rule 1).
 * Cost: no call where the headers are in the linear part of the packet, else a bpf_skb_load_bytes for each. */
#ifndef GRANTD_BPF_PARSE_H
#define GRANTD_BPF_PARSE_H

#include "bpf/packet.h"
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define IPV4_RESERVED 0x8000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_OFFSET 0xfff8
#define EXTENSION_MOBILITY 135
#define EXTENSION_HIP 139
#define EXTENSION_SHIM6 140
#define SCTP_HEADER_BYTES 12
#define SCTP_CHUNK_HEADER_BYTES 4
#define SCTP_INIT 1
#define MAX_PACKET_BYTES 65535
#define DIRECT_OFFSET_MAX 255

/* linux/icmp.h needs a C library for the target, which BPF has none of. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 echo_id;
	__be16 echo_sequence;
};

struct ipv6_fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* A header where it lies, or copied into buffer where it is not in the linear part; NULL where the frame ends
 * before it does. A call costs more than all the checks of an established flow's headers. */
ALWAYS_INLINE const void *header_at(struct __sk_buff *skb, __u32 offset, void *buffer, __u32 bytes)
{
	const void *data = (const void *)(long)skb->data, *end = (const void *)(long)skb->data_end;

	if (offset <= DIRECT_OFFSET_MAX && data + offset + bytes <= end)
		return data + offset;
	return bpf_skb_load_bytes(skb, offset, buffer, bytes) ? NULL : buffer;
}

ALWAYS_INLINE enum grantd_reason too_short(__u8 fragment)
{
	return fragment == FRAGMENT_FIRST ? GRANTD_REASON_FRAGMENT_HEADER : GRANTD_REASON_TOO_SHORT;
}

ALWAYS_INLINE enum grantd_reason parse_tcp(struct __sk_buff *skb, struct packet *packet)
{
	struct tcphdr buffer;
	const struct tcphdr *tcp = header_at(skb, packet->l4, &buffer, sizeof(buffer));

	if (!tcp || packet->l4_bytes < sizeof(*tcp))
		return too_short(packet->fragment);
	packet->l4_header_bytes = tcp->doff * 4U;
	if (packet->l4_header_bytes < sizeof(*tcp))
		return GRANTD_REASON_MALFORMED;
	if (packet->l4_header_bytes > packet->l4_bytes)
		return too_short(packet->fragment);
	packet->source_port = bpf_ntohs(tcp->source);
	packet->destination_port = bpf_ntohs(tcp->dest);
	packet->tcp_flags = ((const __u8 *)tcp)[13] & 0x3f;
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason parse_udp(struct __sk_buff *skb, struct packet *packet)
{
	struct udphdr buffer;
	const struct udphdr *udp = header_at(skb, packet->l4, &buffer, sizeof(buffer));
	__u32 length;

	if (!udp || packet->l4_bytes < sizeof(*udp))
		return too_short(packet->fragment);
	length = bpf_ntohs(udp->len);
	/* The length of a fragmented datagram is that of the whole. */
	if (length < sizeof(*udp) || (packet->fragment != FRAGMENT_FIRST && length > packet->l4_bytes))
		return GRANTD_REASON_MALFORMED;
	packet->l4_header_bytes = sizeof(*udp);
	packet->source_port = bpf_ntohs(udp->source);
	packet->destination_port = bpf_ntohs(udp->dest);
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason parse_sctp(struct __sk_buff *skb, struct packet *packet)
{
	struct {
		__be16 source;
		__be16 destination;
		__u32 tag;
		__u32 checksum;
		__u8 chunk;
		__u8 flags;
		__be16 length;
	} sctp;

	if (packet->l4_bytes < sizeof(sctp) || bpf_skb_load_bytes(skb, packet->l4, &sctp, sizeof(sctp)))
		return too_short(packet->fragment);
	packet->l4_header_bytes = sizeof(sctp);
	packet->source_port = bpf_ntohs(sctp.source);
	packet->destination_port = bpf_ntohs(sctp.destination);
	packet->sctp_chunk = sctp.chunk;
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason parse_icmp(struct __sk_buff *skb, struct packet *packet)
{
	struct icmp_header icmp;

	if (packet->l4_bytes < sizeof(icmp) || bpf_skb_load_bytes(skb, packet->l4, &icmp, sizeof(icmp)))
		return too_short(packet->fragment);
	packet->l4_header_bytes = sizeof(icmp);
	packet->icmp_type = icmp.type;
	packet->icmp_code = icmp.code;
	packet->source_port = bpf_ntohs(icmp.echo_id);
	return GO_ON;
}

ALWAYS_INLINE enum grantd_reason parse_l4(struct __sk_buff *skb, struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, packet);
	case IPPROTO_UDP:
		return parse_udp(skb, packet);
	case IPPROTO_ICMP:
		return parse_icmp(skb, packet);
	case IPPROTO_SCTP:
		return parse_sctp(skb, packet);
	case IPPROTO_IGMP:
		return packet->family == GRANTD_IPV4 ? GRANTD_REASON_LINK_CHATTER : GRANTD_REASON_PROTOCOL;
	default:
		return GRANTD_REASON_PROTOCOL;
	}
}

/* Offset and payload of a fragment agree: all but the last carry multiples of eight bytes
 * (RFC 791 3.2, RFC 8200 4.5), and none reaches past the largest packet. `header` counts towards that: IPv4's
 * header, the extension headers before IPv6's fragment header. */
ALWAYS_INLINE bool fragment_is_sane(__u32 bytes_before, __u32 bytes, bool more, __u32 header)
{
	return bytes > 0 && !(more && (bytes & 7)) && header + bytes_before + bytes <= MAX_PACKET_BYTES;
}

/* What is larger than its header can say, and is still to be cut into segments, says 0 (net/ipv6/ip6_offload.c). */
ALWAYS_INLINE __u32 length_of_big_tcp(const struct __sk_buff *skb, __u32 from)
{
	return skb->gso_size && skb->len - from > MAX_PACKET_BYTES ? skb->len - from : 0;
}

ALWAYS_INLINE enum grantd_reason parse_ipv4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr buffer;
	const struct iphdr *ip = header_at(skb, packet->l3, &buffer, sizeof(buffer));
	__u32 total, flags;

	packet->family = GRANTD_IPV4;
	if (!ip)
		return GRANTD_REASON_TOO_SHORT;
	set_ipv4(&packet->source, ip->saddr);
	set_ipv4(&packet->destination, ip->daddr);
	total = bpf_ntohs(ip->tot_len);
	if (!total)
		total = length_of_big_tcp(skb, packet->l3);
	if (ip->version != 4 || ip->ihl < 5 || total < ip->ihl * 4U || total > skb->len - packet->l3)
		return GRANTD_REASON_MALFORMED;
	if (ip->ihl > 5) /* IGMP always carries Router Alert */
		return ip->protocol == IPPROTO_IGMP ? GRANTD_REASON_LINK_CHATTER : GRANTD_REASON_IPV4_OPTIONS;
	packet->protocol = ip->protocol;
	packet->l4 = packet->l3 + sizeof(*ip);
	packet->l4_bytes = total - sizeof(*ip);

	flags = bpf_ntohs(ip->frag_off);
	if (flags & (IPV4_RESERVED | IPV4_MORE_FRAGMENTS | IPV4_OFFSET)) {
		if (flags & IPV4_RESERVED)
			return GRANTD_REASON_MALFORMED;
		packet->fragment = flags & IPV4_OFFSET ? FRAGMENT_LATER : FRAGMENT_FIRST;
		packet->fragment_bytes_before = (flags & IPV4_OFFSET) * 8;
		packet->fragment_protocol = ip->protocol;
		packet->fragment_id = bpf_ntohs(ip->id);
		if (!fragment_is_sane(packet->fragment_bytes_before, packet->l4_bytes, flags & IPV4_MORE_FRAGMENTS, sizeof(*ip)))
			return GRANTD_REASON_MALFORMED;
		if (packet->fragment == FRAGMENT_LATER)
			return GO_ON;
	}
	return parse_l4(skb, packet);
}

/* What stands between an IPv6 header and L4. */
struct extensions {
	__u32 at; /* the first of them; afterwards what they lead to */
	__u32 end;
	__u32 fragment_id;
	__u16 fragment_bytes_before;
	__u16 fragment_header_skip;
	__u8 fragment;
	__u8 fragment_protocol;
	__u8 protocol;
	__u8 pad;
};

/* Walks at most six extension headers of an allow list. Not on the path of an ordinary packet. Global, as parse_l3 is. */
__attribute__((noinline)) int walk_extensions(struct __sk_buff *skb, struct extensions *walked, __u32 next)
{
	__u32 offset, begin, end, after_fragment = 0;

	if (!walked)
		return GRANTD_REASON_MALFORMED;
	offset = begin = walked->at;
	end = walked->end;
	/* Unrolled: before Linux 6.3 a verifier refuses a loop whose last instruction runs on into its first. */
#pragma clang loop unroll(full)
	for (int i = 0; i <= GRANTD_IPV6_EXTENSION_HEADERS; i++) {
		struct ipv6_fragment_header fragment;
		__u8 head[2];

		switch (next) {
		case IPPROTO_HOPOPTS:
			if (i > 0)
				return GRANTD_REASON_EXTENSION_HEADER;
			break;
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
			break;
		case IPPROTO_ROUTING:
			return GRANTD_REASON_ROUTING_HEADER;
		case EXTENSION_MOBILITY:
		case EXTENSION_HIP:
		case EXTENSION_SHIM6:
			return GRANTD_REASON_EXTENSION_HEADER;
		default:
			walked->protocol = next == IPPROTO_ICMPV6 ? IPPROTO_ICMP : next;
			/* ICMP's own number is IPv4's; so is IGMP. */
			if (next == IPPROTO_ICMP)
				return GRANTD_REASON_PROTOCOL;
			walked->at = offset;
			if (after_fragment)
				walked->fragment_header_skip = offset - after_fragment;
			return GO_ON;
		}
		if (i == GRANTD_IPV6_EXTENSION_HEADERS)
			return GRANTD_REASON_EXTENSION_HEADER;
		if (next == IPPROTO_FRAGMENT) {
			__u16 bits;

			if (after_fragment)
				return GRANTD_REASON_EXTENSION_HEADER;
			if (end - offset < sizeof(fragment) ||
			    bpf_skb_load_bytes(skb, offset, &fragment, sizeof(fragment)))
				return GRANTD_REASON_TOO_SHORT;
			offset += sizeof(fragment);
			after_fragment = offset;
			bits = bpf_ntohs(fragment.offset);
			next = fragment.next;
			if (!(bits & (IPV6_OFFSET | IPV6_MORE_FRAGMENTS)))
				continue;
			walked->fragment = bits & IPV6_OFFSET ? FRAGMENT_LATER : FRAGMENT_FIRST;
			walked->fragment_bytes_before = bits & IPV6_OFFSET;
			walked->fragment_protocol = next;
			walked->fragment_id = bpf_ntohl(fragment.id);
			if (!fragment_is_sane(walked->fragment_bytes_before, end - offset, bits & IPV6_MORE_FRAGMENTS,
					      after_fragment - sizeof(fragment) - begin))
				return GRANTD_REASON_MALFORMED;
			if (walked->fragment == FRAGMENT_LATER) {
				walked->at = offset;
				return GO_ON;
			}
			continue;
		}
		if (end - offset < 8 || bpf_skb_load_bytes(skb, offset, head, sizeof(head)))
			return too_short(walked->fragment);
		offset += 8 + head[1] * 8U;
		if (offset > end)
			return too_short(walked->fragment);
		next = head[0];
	}
	return GRANTD_REASON_EXTENSION_HEADER;
}

ALWAYS_INLINE enum grantd_reason parse_extensions(struct __sk_buff *skb, struct packet *packet, __u32 next)
{
	__u32 end = packet->l4 + packet->l4_bytes;
	struct extensions walked = { .at = packet->l4, .end = end };
	enum grantd_reason reason = walk_extensions(skb, &walked, next);

	packet->l4 = walked.at;
	packet->l4_bytes = end - walked.at;
	packet->protocol = walked.protocol;
	packet->fragment = walked.fragment;
	packet->fragment_protocol = walked.fragment_protocol;
	packet->fragment_bytes_before = walked.fragment_bytes_before;
	packet->fragment_header_skip = walked.fragment_header_skip;
	packet->fragment_id = walked.fragment_id;
	return reason;
}

ALWAYS_INLINE bool is_v4_mapped(const struct grantd_address *address)
{
	return !(word(address, 0) | word(address, 1)) && word(address, 2) == bpf_htonl(0xffff);
}

ALWAYS_INLINE enum grantd_reason parse_ipv6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr buffer;
	const struct ipv6hdr *ip = header_at(skb, packet->l3, &buffer, sizeof(buffer));

	packet->family = GRANTD_IPV6;
	if (!ip)
		return GRANTD_REASON_TOO_SHORT;
	__builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
	packet->l4 = packet->l3 + sizeof(*ip);
	packet->l4_bytes = bpf_ntohs(ip->payload_len);
	if (!packet->l4_bytes)
		packet->l4_bytes = length_of_big_tcp(skb, packet->l4);
	packet->hop_limit = ip->hop_limit;
	if (ip->version != 6 || packet->l4_bytes > skb->len - packet->l4)
		return GRANTD_REASON_MALFORMED;
	/* They would share flow keys with IPv4, and belong on no wire (RFC 4942 2.2). */
	if (is_v4_mapped(&packet->source) || is_v4_mapped(&packet->destination))
		return GRANTD_REASON_MARTIAN;
	if (ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP) {
		packet->protocol = ip->nexthdr;
	} else {
		enum grantd_reason reason = parse_extensions(skb, packet, ip->nexthdr);

		if (reason || packet->fragment == FRAGMENT_LATER)
			return reason;
	}
	return parse_l4(skb, packet);
}

/* Everything above L2. packet->l3 and packet->ethertype are set. A global function is verified once, by
 * itself: its many paths do not multiply those of what follows (start of the agent: seconds otherwise).
 * The verifier forgets the pointers in *packet; the caller sets them again. */
__attribute__((noinline)) int parse_l3(struct __sk_buff *skb, struct packet *packet)
{
	if (!packet)
		return GRANTD_REASON_MALFORMED;
	if (packet->ethertype == ETH_P_IP)
		return parse_ipv4(skb, packet);
	if (packet->ethertype == ETH_P_IPV6)
		return parse_ipv6(skb, packet);
	return GRANTD_REASON_ETHERTYPE;
}

ALWAYS_INLINE enum grantd_reason parse_l2(struct __sk_buff *skb, struct packet *packet)
{
	struct ethhdr buffer;
	const struct ethhdr *ethernet = header_at(skb, 0, &buffer, sizeof(buffer));

	if (!ethernet)
		return GRANTD_REASON_TOO_SHORT;
	packet->ethertype = bpf_ntohs(ethernet->h_proto);
	packet->l3 = sizeof(*ethernet);
	__builtin_memcpy(packet->source_mac, ethernet->h_source, ETH_ALEN);
	if (ethernet->h_dest[0] & 1)
		packet->group_frame = (ethernet->h_dest[0] & ethernet->h_dest[1] & ethernet->h_dest[2] &
				       ethernet->h_dest[3] & ethernet->h_dest[4] & ethernet->h_dest[5]) == 0xff ?
					      GROUP_BROADCAST :
					      GROUP_MULTICAST;
	if (packet->ethertype == ETH_P_8021Q || packet->ethertype == ETH_P_8021AD)
		return GRANTD_REASON_VLAN_TAG;
	return GO_ON;
}

#endif
