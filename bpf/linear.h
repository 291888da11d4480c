/* What is judged is what goes on. A guest can give the kernel pages without a copy (splice, sendfile) and write them
 * afterwards; where it unpacks a tunnel in its own namespace, headers lie in such pages, and the node would read other ones
 * than we did. In the linear part nobody writes but the kernel. */
#ifndef GRANTD_BPF_LINEAR_H
#define GRANTD_BPF_LINEAR_H

#include "bpf/parse.h"

/* In 64 bits: the verifier knows no narrower difference of pointers. */
ALWAYS_INLINE bool is_linear(const struct __sk_buff *skb, __u64 bytes)
{
	__u64 linear = (const void *)(long)skb->data_end - (const void *)(long)skb->data;

	return bytes <= linear;
}

/* From the first byte of the frame: headers, and of ICMP's messages all that they say. */
ALWAYS_INLINE __u32 judged_bytes(const struct __sk_buff *skb, const struct packet *packet)
{
	if (packet->protocol == IPPROTO_ICMP && !is_echo_request(packet) && !is_echo_reply(packet))
		return skb->len;
	return packet->l4 + packet->l4_header_bytes;
}

/* A packet whose headers were parsed, and are not all in the linear part: they are brought there, and parsed again.
 * Cost: a copy of them, and what parse_l3 costs. Of sockets' own packets a few have no header in the linear part: those
 * of a raw socket that is spliced into. */
__attribute__((noinline)) int parse_in_linear(struct __sk_buff *skb, struct packet *packet)
{
	enum grantd_reason reason;

	if (!packet || bpf_skb_pull_data(skb, judged_bytes(skb, packet)))
		return GRANTD_REASON_MALFORMED;
	packet->fragment = FRAGMENT_NONE;
	packet->l4_header_bytes = 0;
	packet->source_port = 0;
	packet->destination_port = 0;
	reason = parse_l3(skb, packet);
	if (reason)
		return reason;
	return is_linear(skb, judged_bytes(skb, packet)) ? GO_ON : GRANTD_REASON_MALFORMED;
}

#endif
