/* The layer below every other header of the ABI: fixed-width types and the checks that both
 * compilers run. All of maps/abi is C that clang -target bpf and g++ read alike.
 *
 * Conventions of the whole ABI, said once:
 *   - addresses and MACs are in network byte order, everything else in host byte order;
 *   - an IPv4 address in a 16-byte field is v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2);
 *   - padding is a named field and is always zero;
 *   - times are nanoseconds of CLOCK_BOOTTIME unless the name says otherwise.
 */
#ifndef GRANTD_ABI_BASE_H
#define GRANTD_ABI_BASE_H

#include <linux/types.h>

#ifdef __cplusplus
#include <cstddef>
#define GRANTD_ASSERT(condition, text) static_assert(condition, text)
#else
#include <stddef.h>
#define GRANTD_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#define GRANTD_ASSERT_SIZE(type, bytes) \
	GRANTD_ASSERT(sizeof(struct type) == (bytes), "size of " #type)
#define GRANTD_ASSERT_OFFSET(type, field, bytes) \
	GRANTD_ASSERT(offsetof(struct type, field) == (bytes), "offset of " #type "." #field)

/* Seen from the guest. */
enum grantd_direction {
	GRANTD_EGRESS = 0,
	GRANTD_INGRESS = 1,
	GRANTD_DIRECTIONS = 2,
};

/* The address families of keys; the numbers are the IP version. */
enum grantd_family {
	GRANTD_IPV4 = 4,
	GRANTD_IPV6 = 6,
};

/* Aligned so that BPF compares and copies it by words. */
struct grantd_address {
	__u8 bytes[16];
} __attribute__((aligned(4)));
GRANTD_ASSERT_SIZE(grantd_address, 16);

#endif
