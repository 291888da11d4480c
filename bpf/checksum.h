/* What the kernel has still to write into a packet (rule 1): a checksum that is left to the interface it leaves by
 * (CHECKSUM_PARTIAL). Where it goes, a guest's packet socket may say (PACKET_VNET_HDR), and with two bytes that nobody
 * reads it says what it will be. So a place that is judged is none for it, but the checksum's own. */
#ifndef GRANTD_BPF_CHECKSUM_H
#define GRANTD_BPF_CHECKSUM_H

#include "bpf/kernel_types.h"
#include "bpf/packet.h"

#define TCP_CHECKSUM 16U /* offsets in their headers */
#define UDP_CHECKSUM 6U
#define SCTP_CHECKSUM 8U

/* From ip_summed to data in struct sk_buff; the verifier refuses the program where they are farther apart. */
#define STRETCH_BYTES 128

ALWAYS_INLINE __u64 in_stretch(const unsigned char *stretch, __u32 offset, __u32 bytes)
{
	const void *at = stretch + offset;

	switch (bytes) {
	case 1:
		return *(const __u8 *)at;
	case 2:
		return *(const __u16 *)at;
	case 4:
		return *(const __u32 *)at;
	default:
		return *(const __u64 *)at;
	}
}

/* Whether it is written where nothing has judged. In the payload of UDP there are headers of a tunnel's own, whose
 * checksums are left to the interface as well. No kernel leaves one of a fragment, of ICMP or of ARP. */
ALWAYS_INLINE bool is_harmless(const struct __sk_buff *skb, const struct packet *packet, __u32 start, __u32 field)
{
	bool of_l4 = start == packet->l4;

	if (packet->fragment)
		return false;
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return of_l4 && field == packet->l4 + TCP_CHECKSUM;
	case IPPROTO_UDP:
		return (of_l4 && field == packet->l4 + UDP_CHECKSUM) ||
		       (field >= packet->l4 + packet->l4_header_bytes && field < skb->len);
	case IPPROTO_SCTP:
		return of_l4 && field == packet->l4 + SCTP_CHECKSUM;
	default:
		return false;
	}
}

/* Cost: one read of kernel memory a packet. */
NOINLINE bool is_rewritten_later(struct __sk_buff *skb, const struct packet *packet)
{
	unsigned char stretch[STRETCH_BYTES] __attribute__((aligned(8)));
	struct sk_buff *kernels = (struct sk_buff *)skb;
	__u32 first = __builtin_preserve_field_info(kernels->ip_summed, BPF_FIELD_BYTE_OFFSET);
	__u32 head = bpf_core_field_offset(struct sk_buff, head), data = bpf_core_field_offset(struct sk_buff, data);
	__u32 start = bpf_core_field_offset(struct sk_buff, csum_start);
	__u32 offset = bpf_core_field_offset(struct sk_buff, csum_offset);
	__u64 summed;

	if (bpf_probe_read_kernel(stretch, data + sizeof(kernels->data) - first, (void *)skb + first))
		return true;
	summed = in_stretch(stretch, 0, __builtin_preserve_field_info(kernels->ip_summed, BPF_FIELD_BYTE_SIZE));
	summed <<= __builtin_preserve_field_info(kernels->ip_summed, BPF_FIELD_LSHIFT_U64);
	summed >>= __builtin_preserve_field_info(kernels->ip_summed, BPF_FIELD_RSHIFT_U64);
	if (summed != CHECKSUM_PARTIAL)
		return false;
	start = in_stretch(stretch, start - first, 2) -
		(__u32)(in_stretch(stretch, data - first, 8) - in_stretch(stretch, head - first, 8));
	return !is_harmless(skb, packet, start, start + in_stretch(stretch, offset - first, 2));
}

#endif
