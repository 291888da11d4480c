/* ARP and neighbour discovery (rule 2): what a host on a link must say, about itself alone.
 * Not on the path of an ordinary packet. */
#ifndef GRANTD_BPF_HOUSEKEEPING_H
#define GRANTD_BPF_HOUSEKEEPING_H

#include "bpf/flow.h"
#include "bpf/parse.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
/* Padding to the smallest Ethernet frame is all that may follow ARP. */
#define ARP_FRAME_MAX_BYTES 64
#define ND_HOP_LIMIT 255
#define ND_OPTION_SOURCE_LINK 1
#define ND_OPTION_TARGET_LINK 2
#define ND_OPTION_NONCE 14
#define ND_MAX_OPTIONS 3
#define ND_OPTION_BYTES 8

struct arp_ipv4 {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

ALWAYS_INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

ALWAYS_INLINE bool owns_ipv4(const struct grantd_endpoint *endpoint, __u32 ipv4)
{
	return ipv4 && (ipv4 == endpoint->ipv4[0] || ipv4 == endpoint->ipv4[1] || ipv4 == endpoint->ipv4[2] ||
			ipv4 == endpoint->ipv4[3]);
}

ALWAYS_INLINE bool owns_ipv6(const struct grantd_endpoint *endpoint, const struct grantd_address *address)
{
	if (is_unspecified(address))
		return false;
	return same_address(address, &endpoint->ipv6[0]) || same_address(address, &endpoint->ipv6[1]) ||
	       same_address(address, &endpoint->ipv6[2]) || same_address(address, &endpoint->ipv6[3]);
}

ALWAYS_INLINE bool owns(const struct grantd_endpoint *endpoint, const struct packet *packet,
			const struct grantd_address *address)
{
	return packet->family == GRANTD_IPV4 ? owns_ipv4(endpoint, word(address, 3)) : owns_ipv6(endpoint, address);
}

ALWAYS_INLINE bool owns_link_or_global(const struct grantd_endpoint *endpoint, const struct grantd_address *address)
{
	return owns_ipv6(endpoint, address) ||
	       (!is_unspecified(address) && same_address(address, &endpoint->link_local));
}

/* On the same bridge. They have nothing to say to each other, and even whom one asks for would be a letter. */
ALWAYS_INLINE bool is_of_another_grant(const struct __sk_buff *skb, const struct packet *packet)
{
	__u32 ifindex = skb->ingress_ifindex;
	const struct grantd_endpoint *sender = bpf_map_lookup_elem(&grantd_endpoint, &ifindex);

	return sender && sender->ifindex == ifindex && sender->slot != packet->slot;
}

/* A bridge floods what goes to an address that none of its ports has: then the address is a letter too. */
ALWAYS_INLINE bool is_for_guests_link(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 destination[ETH_ALEN];

	if (!packet->group_frame && (bpf_skb_load_bytes(skb, 0, destination, sizeof(destination)) ||
				     !same_mac(destination, packet->endpoint->mac)))
		return false;
	return !is_of_another_grant(skb, packet);
}

/* What a question and an answer do not need could be a letter to a neighbour of another Grant: the padding, the
 * address that is asked for, and a group that is not everybody. */
ALWAYS_INLINE bool arp_says_no_more(struct __sk_buff *skb, const struct packet *packet, const struct arp_ipv4 *arp)
{
	static const __u8 nobody[ETH_ALEN] = {}, everybody[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	__u8 destination[ETH_ALEN], padding;
	__u32 at = packet->l3 + sizeof(*arp);

	/* Byte by byte: a read of so many is more than the verifier of Linux 6.1 can follow. */
	for (int i = 0; i < ARP_FRAME_MAX_BYTES && at < skb->len; i++, at++)
		if (bpf_skb_load_bytes(skb, at, &padding, sizeof(padding)) || padding)
			return false;
	return packet->group_frame != GROUP_MULTICAST && !bpf_skb_load_bytes(skb, 0, destination, sizeof(destination)) &&
	       (same_mac(arp->target_mac, nobody) || same_mac(arp->target_mac, everybody) ||
		same_mac(arp->target_mac, destination) || same_mac(arp->target_mac, packet->source_mac));
}

NOINLINE int keep_arp(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	const struct grantd_endpoint *endpoint = packet->endpoint;
	__u32 sender_ip, target_ip;
	struct arp_ipv4 arp;

	if (!endpoint)
		return GRANTD_REASON_NO_ENDPOINT;
	if (bpf_skb_load_bytes(skb, packet->l3, &arp, sizeof(arp)))
		return GRANTD_REASON_TOO_SHORT;
	if (arp.hardware_type != bpf_htons(1) || arp.protocol_type != bpf_htons(ETH_P_IP) ||
	    arp.hardware_bytes != ETH_ALEN || arp.protocol_bytes != 4 || skb->len > ARP_FRAME_MAX_BYTES ||
	    (arp.operation != bpf_htons(ARP_REQUEST) && arp.operation != bpf_htons(ARP_REPLY)))
		return GRANTD_REASON_MALFORMED;
	__builtin_memcpy(&sender_ip, arp.sender_ip, 4);
	__builtin_memcpy(&target_ip, arp.target_ip, 4);
	if (!same_mac(arp.sender_mac, packet->source_mac))
		return GRANTD_REASON_NEIGHBOUR_SPOOFING;
	if (direction == GRANTD_EGRESS) {
		/* A probe (RFC 5227) is a request that has no sender address and asks for its own. */
		bool probe = !sender_ip && arp.operation == bpf_htons(ARP_REQUEST);

		if (!owns_ipv4(endpoint, probe ? target_ip : sender_ip))
			return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		return arp_says_no_more(skb, packet, &arp) ? GRANTD_REASON_HOUSEKEEPING : GRANTD_REASON_MALFORMED;
	}
	if (owns_ipv4(endpoint, sender_ip))
		return GRANTD_REASON_NEIGHBOUR_SPOOFING;
	return owns_ipv4(endpoint, target_ip) && is_for_guests_link(skb, packet) ? GRANTD_REASON_HOUSEKEEPING :
										   GRANTD_REASON_LINK_CHATTER;
}

/* Options from a guest: its own link address, nothing that could carry a message. A nonce (RFC 7527) belongs to DAD,
 * which is about the guest's own address: no other guest gets it. */
ALWAYS_INLINE bool own_options(struct __sk_buff *skb, const struct packet *packet, __u32 offset)
{
	__u32 end = packet->l4 + packet->l4_bytes;

	for (int i = 0; i < ND_MAX_OPTIONS; i++) {
		__u8 option[ND_OPTION_BYTES];

		if (offset == end)
			return true;
		if (end - offset < ND_OPTION_BYTES || bpf_skb_load_bytes(skb, offset, option, sizeof(option)) ||
		    option[1] != 1)
			return false;
		if (option[0] == ND_OPTION_SOURCE_LINK || option[0] == ND_OPTION_TARGET_LINK) {
			if (!same_mac(&option[2], packet->endpoint->mac))
				return false;
		} else if (option[0] != ND_OPTION_NONCE || !is_unspecified(&packet->source)) {
			return false;
		}
		offset += ND_OPTION_BYTES;
	}
	return offset == end;
}

ALWAYS_INLINE bool is_neighbour_discovery(const struct packet *packet)
{
	return is_icmp6(packet) && packet->icmp_type >= ICMP6_ROUTER_SOLICITATION &&
	       packet->icmp_type <= ICMP6_NEIGHBOUR_ADVERTISEMENT;
}

/* Of all groups those that its kind of message is for (RFC 4861 4.1, 4.3, 4.4; RFC 9131 6.1.2): the rest is 14 bytes for
 * whoever listens. */
ALWAYS_INLINE bool is_its_group(const struct packet *packet, const struct grantd_address *target)
{
	const struct grantd_address *group = &packet->destination;

	if (word(group, 0) != bpf_htonl(0xff020000) || word(group, 1))
		return false;
	switch (packet->icmp_type) {
	case ICMP6_ROUTER_SOLICITATION:
		return !word(group, 2) && word(group, 3) == bpf_htonl(2);
	case ICMP6_NEIGHBOUR_ADVERTISEMENT:
		return !word(group, 2) && (word(group, 3) == bpf_htonl(1) || word(group, 3) == bpf_htonl(2));
	default:
		return word(group, 2) == bpf_htonl(1) &&
		       word(group, 3) == (word(target, 3) | bpf_htonl(0xff000000));
	}
}

/* As of ARP: the flow label, what is reserved, and the group's link address (RFC 2464 7) say nothing. No guest is given a
 * router solicitation, and processes send it, whom the kernel gives a label. */
ALWAYS_INLINE bool nd_says_no_more(struct __sk_buff *skb, const struct packet *packet)
{
	__be32 label, reserved;
	__u8 destination[ETH_ALEN];
	__be32 reserved_bits = packet->icmp_type == ICMP6_NEIGHBOUR_ADVERTISEMENT ? bpf_htonl(0x1fffffff) : 0xffffffff;

	if (bpf_skb_load_bytes(skb, packet->l3, &label, sizeof(label)) ||
	    (label & bpf_htonl(0x000fffff) && packet->icmp_type != ICMP6_ROUTER_SOLICITATION) ||
	    bpf_skb_load_bytes(skb, packet->l4 + 4, &reserved, sizeof(reserved)) || reserved & reserved_bits)
		return false;
	return !packet->group_frame || (!bpf_skb_load_bytes(skb, 0, destination, sizeof(destination)) &&
					destination[0] == 0x33 && destination[1] == 0x33 &&
					destination[2] == packet->destination.bytes[12] &&
					destination[3] == packet->destination.bytes[13] &&
					destination[4] == packet->destination.bytes[14] &&
					destination[5] == packet->destination.bytes[15]);
}

/* Nothing of it may be routed: a host forwards a solicitation to a global address like any other
 * packet. Its group never leaves the link; the host's own side is the gateway; any other
 * neighbour must be one that the Grant lets the guest reach. */
ALWAYS_INLINE bool stays_on_link(struct packet *packet, const struct grantd_address *target)
{
	struct grantd_flow_key key = { .protocol = IPPROTO_ICMP };

	if (packet->destination.bytes[0] == 0xff)
		return is_its_group(packet, target);
	/* DAD speaks to groups alone (RFC 4862 5.4.2). Nobody is at "::", which gateways that are not there hold. */
	if (is_unspecified(&packet->source) || is_unspecified(&packet->destination))
		return false;
	if (is_ipv6_link_local(packet, &packet->destination))
		return true;
	for (int i = 0; i < GRANTD_GATEWAYS_PER_ENDPOINT; i++)
		if (same_address(&packet->destination, &packet->endpoint->gateway[i]))
			return true;
	key.peer_address = packet->destination;
	return judge(packet, &key, GRANTD_INITIATOR_GUEST, GRANTD_IDENTITY_NOBODY) == GO_ON;
}

NOINLINE int keep_neighbours(struct __sk_buff *skb, struct packet *packet, __u32 direction)
{
	const struct grantd_endpoint *endpoint = packet->endpoint;
	struct grantd_address target = {};
	__u32 body = packet->l4 + 8;

	if (!endpoint || !packet->policy)
		return GRANTD_REASON_NO_ENDPOINT;
	/* RFC 4861 6.1, 7.1; nothing between IPv6 and ICMPv6, and so no fragments (RFC 6980). */
	if (packet->hop_limit != ND_HOP_LIMIT || packet->icmp_code != 0 ||
	    packet->l4 != packet->l3 + sizeof(struct ipv6hdr))
		return GRANTD_REASON_MALFORMED;
	if (packet->icmp_type == ICMP6_NEIGHBOUR_SOLICITATION || packet->icmp_type == ICMP6_NEIGHBOUR_ADVERTISEMENT) {
		if (packet->l4_bytes < 24 || bpf_skb_load_bytes(skb, body, &target, sizeof(target)))
			return GRANTD_REASON_TOO_SHORT;
		body += sizeof(target);
	} else if (packet->icmp_type == ICMP6_ROUTER_ADVERTISEMENT && packet->l4_bytes < 16) {
		return GRANTD_REASON_TOO_SHORT;
	}
	if (direction == GRANTD_EGRESS) {
		/* A bridge floods what stands behind the message too; all are longer than the least that Ethernet sends. */
		if (packet->l4 + packet->l4_bytes != skb->len)
			return GRANTD_REASON_MALFORMED;
		if (packet->icmp_type == ICMP6_ROUTER_ADVERTISEMENT)
			return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		if (is_unspecified(&packet->source)) { /* DAD, or RS before there is an address */
			if (packet->icmp_type == ICMP6_NEIGHBOUR_ADVERTISEMENT ||
			    (packet->icmp_type == ICMP6_NEIGHBOUR_SOLICITATION &&
			     !owns_link_or_global(endpoint, &target)))
				return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		} else if (!owns_link_or_global(endpoint, &packet->source)) {
			return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		}
		if (packet->icmp_type == ICMP6_NEIGHBOUR_ADVERTISEMENT && !owns_link_or_global(endpoint, &target))
			return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		if (!stays_on_link(packet, &target))
			return GRANTD_REASON_DESTINATION;
		if (!nd_says_no_more(skb, packet))
			return GRANTD_REASON_MALFORMED;
		return own_options(skb, packet, body) ? GRANTD_REASON_HOUSEKEEPING : GRANTD_REASON_NEIGHBOUR_SPOOFING;
	}
	if (owns_link_or_global(endpoint, &packet->source))
		return GRANTD_REASON_NEIGHBOUR_SPOOFING;
	if (!is_for_guests_link(skb, packet))
		return GRANTD_REASON_LINK_CHATTER;
	switch (packet->icmp_type) {
	case ICMP6_NEIGHBOUR_SOLICITATION:
		return owns_link_or_global(endpoint, &target) &&
				       (same_address(&packet->destination, &target) || is_its_group(packet, &target)) ?
			       GRANTD_REASON_HOUSEKEEPING :
			       GRANTD_REASON_LINK_CHATTER;
	case ICMP6_NEIGHBOUR_ADVERTISEMENT:
		if (owns_link_or_global(endpoint, &target))
			return GRANTD_REASON_NEIGHBOUR_SPOOFING;
		return owns_link_or_global(endpoint, &packet->destination) ? GRANTD_REASON_HOUSEKEEPING :
									     GRANTD_REASON_LINK_CHATTER;
	case ICMP6_ROUTER_ADVERTISEMENT:
		for (int i = 0; i < GRANTD_GATEWAYS_PER_ENDPOINT; i++)
			if (is_ipv6_link_local(packet, &packet->source) &&
			    same_address(&packet->source, &endpoint->gateway[i]))
				return GRANTD_REASON_HOUSEKEEPING;
		return GRANTD_REASON_NEIGHBOUR_SPOOFING;
	default:
		return GRANTD_REASON_LINK_CHATTER;
	}
}

/* MLD, DHCP and mDNS; IGMP is recognised by the parser. A later fragment has no type and no port: both are 0. */
ALWAYS_INLINE bool is_link_chatter(const struct packet *packet)
{
	if (is_icmp6(packet))
		return (packet->icmp_type >= ICMP6_MLD_QUERY && packet->icmp_type <= ICMP6_MLD_DONE) ||
		       packet->icmp_type == ICMP6_MLD2_REPORT;
	if (packet->protocol != IPPROTO_UDP ||
	    !(is_multicast(packet, &packet->destination) || is_broadcast(packet, &packet->destination)))
		return false;
	switch (packet->destination_port) {
	case 67:
	case 68:
	case 546:
	case 547:
	case 5353:
		return true;
	default:
		return false;
	}
}

#endif
