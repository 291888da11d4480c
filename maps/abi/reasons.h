/* Every reason that a packet can leave the datapath with: number, name, label in metrics and
 * output, verdict, and one sentence. Append only; a number is never used again. */
#ifndef GRANTD_ABI_REASONS_H
#define GRANTD_ABI_REASONS_H

#include "maps/abi/base.h"

/* X(number, NAME, label, verdict, sentence) */
#define GRANTD_REASONS(X) \
	X(0, FELL_THROUGH, "fell_through", DROP, "No rule of the datapath concluded; the final statement of every program is a drop.") \
	X(1, ESTABLISHED, "established", PASS, "The packet belongs to a flow that the policy in force admits.") \
	X(2, NEW_FLOW, "new_flow", PASS, "The packet began a flow, or re-created a lost one, that the policy admits.") \
	X(3, FRAGMENT, "fragment", PASS, "A later fragment of a packet whose first fragment was admitted.") \
	X(4, ICMP_ERROR, "icmp_error", PASS, "An ICMP error that quotes a live flow of this endpoint.") \
	X(5, HOUSEKEEPING, "housekeeping", PASS, "ARP, neighbour discovery or router discovery that concerns the guest itself.") \
	X(16, NO_ENDPOINT, "no_endpoint", DROP, "The interface or cgroup carries our program but belongs to no known endpoint.") \
	X(17, QUARANTINE, "quarantine", DROP, "No valid Grant governs this guest.") \
	X(18, NOT_YET_VALID, "not_yet_valid", DROP, "The Grant's validFrom has not been reached.") \
	X(19, EXPIRED, "expired", DROP, "The Grant's validUntil has passed.") \
	X(20, REVOKED, "revoked", DROP, "The Grant was revoked and its notice period, if any, is over.") \
	X(21, POLICY_MISSING, "policy_missing", DROP, "The Grant names a policy record that is not there.") \
	X(22, TABLE_MISSING, "table_missing", DROP, "The Grant has no flow, fragment or counter table.") \
	X(24, TOO_SHORT, "too_short", DROP, "The frame ends inside a header.") \
	X(25, VLAN_TAG, "vlan_tag", DROP, "The frame carries a VLAN tag.") \
	X(26, ETHERTYPE, "ethertype", DROP, "The ethertype is neither IPv4, IPv6 nor ARP.") \
	X(27, MALFORMED, "malformed", DROP, "A header contradicts itself or the length of the packet, or a checksum is still to be written over it.") \
	X(28, IPV4_OPTIONS, "ipv4_options", DROP, "The packet carries IPv4 options.") \
	X(29, ROUTING_HEADER, "routing_header", DROP, "The packet carries an IPv6 routing header.") \
	X(30, EXTENSION_HEADER, "extension_header", DROP, "Unknown, misplaced or more than 6 IPv6 extension headers.") \
	X(31, PROTOCOL, "protocol", DROP, "The protocol is not TCP, UDP, SCTP or ICMP.") \
	X(32, ICMP_TYPE, "icmp_type", DROP, "An ICMP message that is neither echo, an error nor neighbour discovery.") \
	X(34, SOURCE_MAC, "source_mac", DROP, "The sender's MAC address is not the guest's own.") \
	X(35, SOURCE_ADDRESS, "source_address", DROP, "The source address is not the guest's own.") \
	X(36, NEIGHBOUR_SPOOFING, "neighbour_spoofing", DROP, "ARP or neighbour discovery that speaks for somebody else, or a router advertisement that is not the gateway's.") \
	X(37, LINK_LOCAL, "link_local", DROP, "IPv6 link-local addresses carry neighbour discovery only.") \
	X(38, MULTICAST, "multicast", DROP, "The destination is multicast.") \
	X(39, BROADCAST, "broadcast", DROP, "The destination is broadcast.") \
	X(40, MARTIAN, "martian", DROP, "A source or destination that no packet on a wire may have.") \
	X(41, NOT_FOR_GUEST, "not_for_guest", DROP, "The destination of a packet to the guest is not one of its addresses.") \
	X(42, LINK_CHATTER, "link_chatter", DROP, "MLD, IGMP, DHCP or mDNS: harmless noise that no Grant allows.") \
	X(44, DESTINATION, "destination", DROP, "The Grant does not name this destination.") \
	X(45, DESTINATION_PORT, "destination_port", DROP, "The Grant names this destination, but not this port or protocol.") \
	X(46, PROTECTED_DESTINATION, "protected_destination", DROP, "A range of the cluster or node that only an entry inside it opens.") \
	X(47, NOBODY, "nobody", DROP, "The sender is no realm that this node knows.") \
	X(48, NOT_A_PARTY, "not_a_party", DROP, "The sender is known and may not reach this guest.") \
	X(49, PARTY_PORT, "party_port", DROP, "The sender is a party, but not for this port or protocol.") \
	X(52, NO_FLOW, "no_flow", DROP, "The packet can only belong to a flow, and there is none.") \
	X(53, AWAITING_PEER, "awaiting_peer", DROP, "The peer's identity is in doubt; replies, and what has waited in a queue, wait for a fresh packet from it.") \
	X(54, FLOW_TABLE_FULL, "flow_table_full", DROP, "The flow could not be recorded.") \
	X(56, FRAGMENT_HEADER, "fragment_header", DROP, "A first fragment without its whole L4 header, or a later one that overlaps it.") \
	X(57, FRAGMENT_ORPHAN, "fragment_orphan", DROP, "A later fragment that follows no admitted first one.") \
	X(58, FRAGMENT_TABLE_FULL, "fragment_table_full", DROP, "The first fragment could not be recorded.") \
	X(60, ICMP_ERROR_UNRELATED, "icmp_error_unrelated", DROP, "An ICMP error that quotes no live flow of this endpoint, or is sent to another than its peer.") \
	X(61, ICMP_ERROR_SIZE, "icmp_error_size", DROP, "An ICMP error longer than 1280 bytes.") \
	X(62, ICMP_REDIRECT, "icmp_redirect", DROP, "An ICMP redirect.") \
	X(64, RATE_LIMIT, "rate_limit", DROP, "The Grant's token bucket is empty.")

enum grantd_verdict { GRANTD_DROP = 0, GRANTD_PASS = 1 };

enum grantd_reason {
#define GRANTD_REASON_ENUM(number, name, label, verdict, sentence) GRANTD_REASON_##name = number,
	GRANTD_REASONS(GRANTD_REASON_ENUM)
#undef GRANTD_REASON_ENUM
};

/* Reasons are numbered below this; passes below GRANTD_REASON_FIRST_DROP, 0 apart. */
#define GRANTD_REASON_LIMIT 72
#define GRANTD_REASON_FIRST_DROP 16

#define GRANTD_REASON_CHECK(number, name, label, verdict, sentence) \
	GRANTD_ASSERT((number) < GRANTD_REASON_LIMIT, #name); \
	GRANTD_ASSERT((GRANTD_##verdict == GRANTD_PASS) == \
		      ((number) != 0 && (number) < GRANTD_REASON_FIRST_DROP), #name);
GRANTD_REASONS(GRANTD_REASON_CHECK)
#undef GRANTD_REASON_CHECK

#endif
