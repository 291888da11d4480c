/* What a packet is on the wire (rule 12): a segmentation-offload packet repeats its headers for every segment. */
#ifndef GRANTD_BPF_WEIGH_H
#define GRANTD_BPF_WEIGH_H

#include "bpf/kernel_types.h"
#include "bpf/packet.h"

#define TCP_DATA_OFFSET 12U /* of the byte in the header */

/* Where the headers end that each segment of a tunnel's packet repeats: the tunnel's and those of what it carries. 0
 * where the kernel's word cannot be. In a guest's own namespace VXLAN and its like leave the cutting to the uplink.
 * Cost: six reads of kernel memory; only for UDP with segmentation offload. */
NOINLINE __u32 end_of_repeated(struct __sk_buff *skb, __u32 headers)
{
	struct sk_buff *kernels = (struct sk_buff *)skb;
	struct skb_shared_info *shared;
	unsigned char *head;
	__u32 inner, gso_type = 0;
	__u8 words;

	if (!BPF_CORE_READ_BITFIELD_PROBED(kernels, encapsulation))
		return headers;
	head = BPF_CORE_READ(kernels, head);
	inner = BPF_CORE_READ(kernels, inner_transport_header) - (__u32)(BPF_CORE_READ(kernels, data) - head);
	shared = (struct skb_shared_info *)(head + BPF_CORE_READ(kernels, end));
	if (inner < headers || inner >= skb->len || bpf_core_read(&gso_type, sizeof(gso_type), &shared->gso_type))
		return 0;
	if (gso_type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6)) {
		if (bpf_skb_load_bytes(skb, inner + TCP_DATA_OFFSET, &words, sizeof(words)))
			return 0;
		return inner + (words >> 4) * 4U;
	}
	return inner + (gso_type & SKB_GSO_SCTP ? SCTP_HEADER_BYTES : sizeof(struct udphdr));
}

/* On top of what the frame is by itself. False where it cannot be reckoned. gso_segs may be missing on packets that a guest made itself. */
ALWAYS_INLINE bool weigh(struct __sk_buff *skb, struct packet *packet)
{
	__u32 headers = packet->l4 + packet->l4_header_bytes, segments;
	__u64 repeated;

	/* It is that already; but parse_l3 made the verifier forget it, and that of Linux 6.1 walks twice as much then. */
	packet->wire_bytes = skb->len;
	if (!skb->gso_size || !packet->l4_header_bytes)
		return true;
	if (packet->protocol == IPPROTO_UDP)
		headers = end_of_repeated(skb, headers);
	if (!headers)
		return false;
	if (headers >= skb->len)
		return true;
	segments = (skb->len - headers + skb->gso_size - 1) / skb->gso_size;
	if (segments < skb->gso_segs)
		segments = skb->gso_segs;
	packet->segments = segments;
	repeated = (segments - 1) * (__u64)headers;
	if (repeated >= 1U << 31)
		return false;
	packet->wire_bytes += repeated;
	return true;
}

#endif
