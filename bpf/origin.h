/* Who sent a packet that comes to a guest (rule 11). */
#ifndef GRANTD_BPF_ORIGIN_H
#define GRANTD_BPF_ORIGIN_H

#include "bpf/kernel_types.h"
#include "bpf/queue.h"

/* Whether its socket is of another network namespace than this interface. On a bridge a frame keeps the socket of its
 * sender; from a macvlan on the bridge it comes through no interface, with the mark that the socket gave it.
 * Cost: four reads of kernel memory; only for packets that came in through no interface. */
NOINLINE bool is_of_another_namespace(struct __sk_buff *skb)
{
	struct sk_buff *packet = (struct sk_buff *)skb;
	struct net *of_socket = BPF_CORE_READ(packet, sk, __sk_common.skc_net.net);

	return of_socket != BPF_CORE_READ(packet, dev, nd_net.net);
}

/* A frame that a bridge sends to several ports is copied, and a copy has no socket. Ports of what else hands frames on
 * (bonds, Open vSwitch) have such a function too. */
ALWAYS_INLINE bool is_port(struct __sk_buff *skb)
{
	struct sk_buff *packet = (struct sk_buff *)skb;

	return BPF_CORE_READ(packet, dev, rx_handler) != NULL;
}

/* A packet that came in through no interface, and that a socket of the node sent, originated here. The interface alone
 * does not say so: the kernel forgets it where it fragments again what it has put together, and where it makes a
 * packet for others (SYNPROXY). */
ALWAYS_INLINE void identify(struct __sk_buff *skb, struct packet *packet)
{
	/* Nobody: whoever may open sockets in another namespace may set marks. */
	if (!skb->ingress_ifindex && (skb->sk ? is_of_another_namespace(skb) : is_port(skb)))
		return;
	if (skb->ingress_ifindex && recall_sender(skb, packet))
		return;
	packet->identity = identity_of_stamp(skb->mark);
	if (packet->identity != GRANTD_IDENTITY_NOBODY || skb->ingress_ifindex)
		return;
	packet->identity = GRANTD_IDENTITY_LOCAL_NODE;
	packet->without_socket = !skb->sk;
}

#endif
