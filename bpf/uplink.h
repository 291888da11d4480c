/* Finds out who sends, before NAT rewrites the address, and stamps it (rule 11). It carries no
 * authority to drop: most of what it sees is the host's own traffic. What it does not
 * understand it stamps as nobody's. Cost: a hash and an LPM lookup. */
#ifndef GRANTD_BPF_UPLINK_H
#define GRANTD_BPF_UPLINK_H

#include "bpf/conclude.h"
#include "bpf/parse.h"
#include "bpf/stamp.h"

union uplink_record {
	struct grantd_uplink fields;
	__u64 whole;
};

ALWAYS_INLINE __u32 sender_of(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, l3 = ETH_HLEN;
	__u16 ethertype = bpf_ntohs(skb->protocol);
	struct grantd_address source = {};
	union uplink_record uplink = {};
	struct grantd_uplink *found;

	found = bpf_map_lookup_elem(&grantd_uplink, &ifindex);
	if (!found || skb->vlan_present)
		return GRANTD_IDENTITY_NOBODY;
	uplink.whole = *(volatile __u64 *)found; /* one load: see struct grantd_uplink */
	if (uplink.fields.ifindex != ifindex || uplink.fields.uplink_class == GRANTD_UPLINK_DESTINATION ||
	    uplink.fields.uplink_class == GRANTD_UPLINK_UNTRUSTED)
		return GRANTD_IDENTITY_NOBODY;
	if (uplink.fields.layer3 && !dry_run) {
		l3 = 0;
	} else {
		__be16 buffer;
		const __be16 *type = header_at(skb, ETH_HLEN - 2, &buffer, sizeof(buffer));

		if (!type)
			return GRANTD_IDENTITY_NOBODY;
		ethertype = bpf_ntohs(*type);
	}
	if (ethertype == ETH_P_IP) {
		__u32 buffer;
		const __u32 *ipv4 = header_at(skb, l3 + __builtin_offsetof(struct iphdr, saddr), &buffer, sizeof(buffer));

		if (!ipv4)
			return GRANTD_IDENTITY_NOBODY;
		set_ipv4(&source, *ipv4);
		return identity_of_address(uplink.fields.uplink_class, GRANTD_IPV4, &source);
	}
	if (ethertype == ETH_P_IPV6) {
		if (bpf_skb_load_bytes(skb, l3 + __builtin_offsetof(struct ipv6hdr, saddr), &source, sizeof(source)))
			return GRANTD_IDENTITY_NOBODY;
		return identity_of_address(uplink.fields.uplink_class, GRANTD_IPV6, &source);
	}
	return GRANTD_IDENTITY_NOBODY;
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	__u32 identity = sender_of(skb);

	if (dry_run) {
		grantd_explanation.identity = identity;
		grantd_explanation.concluded = 1;
	}
	skb->mark = stamped(skb->mark, identity);
	return VERDICT_NEXT;
}

#endif
