/* Finds out who sends, before NAT rewrites the address, and stamps it (rule 11). It carries no
 * authority to drop, but for one thing: most of what it sees is the host's own traffic. What it does not
 * understand it stamps as nobody's. Cost: a hash and an LPM lookup; another one for pieces of datagrams. */
#ifndef GRANTD_BPF_UPLINK_H
#define GRANTD_BPF_UPLINK_H

#include "bpf/clock.h"
#include "bpf/conclude.h"
#include "bpf/parse.h"
#include "bpf/stamp.h"

union uplink_record {
	struct grantd_uplink fields;
	__u64 whole;
};

struct sender {
	__u32 identity;
	bool spoils; /* a datagram of somebody else (decision 54) */
};

/* Whether the source is somebody's address, and not of who sends here. */
ALWAYS_INLINE bool is_anothers(__u8 family, const struct grantd_address *source, __u32 identity)
{
	__u32 owner = identity_of_address(GRANTD_UPLINK_DESTINATION, family, source);

	return owner != GRANTD_IDENTITY_NOBODY && owner != identity;
}

/* Behind which the kernel finds a fragment header: no walk here could be as long as its. */
ALWAYS_INLINE bool may_be_piece(__u8 next_header)
{
	return next_header == IPPROTO_FRAGMENT || next_header == IPPROTO_HOPOPTS || next_header == IPPROTO_ROUTING ||
	       next_header == IPPROTO_DSTOPTS || next_header == IPPROTO_AH;
}

ALWAYS_INLINE struct sender sender_of(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, l3 = ETH_HLEN;
	__u16 ethertype = bpf_ntohs(skb->protocol); /* the kernel took it from the frame */
	struct grantd_address source = {};
	union uplink_record uplink = {};
	struct grantd_uplink *found;
	struct sender sender = { .identity = GRANTD_IDENTITY_NOBODY };
	bool believed, piece;
	__u8 family;

	found = bpf_map_lookup_elem(&grantd_uplink, &ifindex);
	if (!found)
		return sender;
	uplink.whole = *(volatile __u64 *)found; /* one load: see struct grantd_uplink */
	if (uplink.fields.ifindex != ifindex || uplink.fields.uplink_class == GRANTD_UPLINK_DESTINATION)
		return sender;
	believed = !skb->vlan_present && uplink.fields.uplink_class != GRANTD_UPLINK_UNTRUSTED;
	if (uplink.fields.layer3 && !dry_run)
		l3 = 0;
	if (ethertype == ETH_P_IP) {
		__u32 address_buffer;
		__be16 offset_buffer;
		const __u32 *ipv4 = header_at(skb, l3 + __builtin_offsetof(struct iphdr, saddr), &address_buffer,
					      sizeof(address_buffer));
		const __be16 *offset = header_at(skb, l3 + __builtin_offsetof(struct iphdr, frag_off), &offset_buffer,
						 sizeof(offset_buffer));

		if (!ipv4 || !offset)
			return sender;
		set_ipv4(&source, *ipv4);
		family = GRANTD_IPV4;
		piece = bpf_ntohs(*offset) & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS);
	} else if (ethertype == ETH_P_IPV6) {
		__u8 next_buffer;
		const __u8 *next = header_at(skb, l3 + __builtin_offsetof(struct ipv6hdr, nexthdr), &next_buffer,
					     sizeof(next_buffer));

		if (!next ||
		    bpf_skb_load_bytes(skb, l3 + __builtin_offsetof(struct ipv6hdr, saddr), &source, sizeof(source)))
			return sender;
		family = GRANTD_IPV6;
		piece = may_be_piece(*next);
	} else {
		return sender;
	}
	if (believed)
		sender.identity = identity_of_address(uplink.fields.uplink_class, family, &source);
	sender.spoils = piece && is_anothers(family, &source, sender.identity);
	return sender;
}

NOINLINE int refuse_piece(struct __sk_buff *skb)
{
	struct packet packet = { .now_ns = tick_now_ns(), .wire_bytes = skb->len, .segments = 1 };

	return conclude(&packet, skb->ifindex, GRANTD_INGRESS, GRANTD_REASON_NOBODY);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct sender sender = sender_of(skb);
	__u32 identity = sender.identity;

	if (sender.spoils)
		return refuse_piece(skb);
	if (dry_run) {
		grantd_explanation.identity = identity;
		grantd_explanation.concluded = 1;
	}
	skb->mark = stamped(skb->mark, identity);
	return VERDICT_NEXT;
}

#endif
