/* The kernel's own types, as far as programs read them (CO-RE finds the fields by name). */
#ifndef GRANTD_BPF_KERNEL_TYPES_H
#define GRANTD_BPF_KERNEL_TYPES_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct net_device {
	possible_net_t nd_net;
	void *rx_handler; /* of what the device is a port of */
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	__u8 ip_summed : 2;
	__u16 csum_start;  /* from head */
	__u16 csum_offset; /* from csum_start */
	__u8 encapsulation : 1;
	__u16 inner_transport_header; /* from head */
	__u32 end;		      /* from head; where skb_shared_info is */
	unsigned char *head;
	unsigned char *data;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	__u32 gso_type;
} __attribute__((preserve_access_index));

/* include/linux/skbuff.h */
#define CHECKSUM_PARTIAL 3
#define SKB_GSO_TCPV4 (1U << 0)
#define SKB_GSO_TCPV6 (1U << 4)
#define SKB_GSO_SCTP (1U << 14)
#define SKB_GSO_UDP (1U << 16) /* into fragments of IP */
#define SKB_GSO_FRAGLIST (1U << 18)

struct bpf_map {
	__u32 id;
} __attribute__((preserve_access_index));

#endif
