/* What a packet is on the wire (rule 12): a segmentation-offload packet repeats its headers for every segment. */
#ifndef GRANTD_BPF_WEIGH_H
#define GRANTD_BPF_WEIGH_H

#include "bpf/kernel_types.h"
#include "bpf/packet.h"
#include "bpf/parse.h"

#define TCP_DATA_OFFSET 12U /* of the byte in the header */
#define JUMBO_BYTES 8U /* of a hop-by-hop header with a jumbo payload option (RFC 2675) */
#define JUMBO_OPTION 0xc2

#define CUT_INTO_FRAGMENTS (1U << 31)

/* All types at once where it cannot be read.
 * Cost: three reads of kernel memory; only for segmentation offload. */
NOINLINE __u32 gso_type_of(struct __sk_buff *skb)
{
	struct sk_buff *kernels = (struct sk_buff *)skb;
	struct skb_shared_info *shared =
		(struct skb_shared_info *)(BPF_CORE_READ(kernels, head) + BPF_CORE_READ(kernels, end));
	__u32 gso_type;

	return bpf_core_read(&gso_type, sizeof(gso_type), &shared->gso_type) ? ~0U : gso_type;
}

/* Packets that the receiving side has chained as they came (rx-gro-list), and that leave as they came: of all but the
 * first nobody has seen the headers, and kernels before 2025 do not even give them the first one's addresses. A guest that
 * forwards makes such a chain. */
ALWAYS_INLINE bool is_chain(__u32 gso_type)
{
	return gso_type & SKB_GSO_FRAGLIST;
}

/* Where the headers end that each segment of UDP repeats: of a tunnel's packet the tunnel's and those of what it carries.
 * 0 where the kernel's word cannot be. In a guest's own namespace VXLAN and its like leave the cutting to the uplink. With
 * CUT_INTO_FRAGMENTS where IP is to cut it, which whoever writes to a tun may ask for: `ip` is where its header ends.
 * Cost: two to four reads of kernel memory; only for UDP with segmentation offload. */
NOINLINE __u32 end_of_repeated(struct __sk_buff *skb, __u32 gso_type, __u32 ip, __u32 headers)
{
	struct sk_buff *kernels = (struct sk_buff *)skb;
	unsigned char *head = BPF_CORE_READ(kernels, head);
	__u32 inner;
	__u8 words;

	if (gso_type == ~0U)
		return 0;
	if (gso_type & SKB_GSO_UDP)
		return CUT_INTO_FRAGMENTS | ip;
	if (!BPF_CORE_READ_BITFIELD_PROBED(kernels, encapsulation))
		return headers;
	inner = BPF_CORE_READ(kernels, inner_transport_header) - (__u32)(BPF_CORE_READ(kernels, data) - head);
	if (inner < headers || inner >= skb->len)
		return 0;
	if (gso_type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6)) {
		if (bpf_skb_load_bytes(skb, inner + TCP_DATA_OFFSET, &words, sizeof(words)))
			return 0;
		return inner + (words >> 4) * 4U;
	}
	return inner + (gso_type & SKB_GSO_SCTP ? SCTP_HEADER_BYTES : sizeof(struct udphdr));
}

/* Where IPv6's length is too small for it, an option says the length until the packet is cut (before Linux 7). Any other
 * header that stands there stays in each segment. */
NOINLINE int says_how_large(struct __sk_buff *skb, __u32 at)
{
	struct {
		__u8 next, words, option, bytes;
	} header;

	return length_of_big_tcp(skb, at) && !bpf_skb_load_bytes(skb, at, &header, sizeof(header)) &&
	       header.next == IPPROTO_TCP && !header.words && header.option == JUMBO_OPTION && header.bytes == 4;
}

/* On top of what the frame is by itself. False where it cannot be reckoned. gso_segs may be missing on packets that a guest made itself. */
ALWAYS_INLINE bool weigh(struct __sk_buff *skb, struct packet *packet, __u32 gso_type)
{
	__u32 headers = packet->l4 + packet->l4_header_bytes, segments, more = 0;
	__u64 repeated;

	/* It is that already; but parse_l3 made the verifier forget it, and that of Linux 6.1 walks twice as much then. */
	packet->wire_bytes = skb->len;
	if (!skb->gso_size || !packet->l4_header_bytes)
		return true;
	if (packet->protocol == IPPROTO_SCTP)
		headers = packet->l4 + SCTP_HEADER_BYTES;
	if (packet->protocol == IPPROTO_UDP)
		headers = end_of_repeated(skb, gso_type, packet->l4, headers);
	if (!headers)
		return false;
	/* Each fragment of IPv6 has a header of its own besides. */
	if (headers & CUT_INTO_FRAGMENTS && packet->family == GRANTD_IPV6)
		more = sizeof(struct ipv6_fragment_header);
	headers &= ~CUT_INTO_FRAGMENTS;
	if (headers >= skb->len)
		return true;
	segments = (skb->len - headers + skb->gso_size - 1) / skb->gso_size;
	if (segments < skb->gso_segs)
		segments = skb->gso_segs;
	packet->segments = segments;
	if (packet->family == GRANTD_IPV6 && packet->l4 == packet->l3 + sizeof(struct ipv6hdr) + JUMBO_BYTES &&
	    says_how_large(skb, packet->l3 + sizeof(struct ipv6hdr))) {
		headers -= JUMBO_BYTES;
		packet->wire_bytes -= JUMBO_BYTES;
	}
	repeated = (segments - 1) * (__u64)headers + segments * more;
	if (repeated >= 1U << 31)
		return false;
	packet->wire_bytes += repeated;
	return true;
}

#endif
