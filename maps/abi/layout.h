/* Where each field of each record stands. Pinned maps outlive the programs and the agent that wrote them: who moves a
 * field reads what an older version wrote as something else, so with a line of this file the version in the map's pin
 * changes too (map_pin() of maps/kernel). Both compilers check it. */
#ifndef GRANTD_ABI_LAYOUT_H
#define GRANTD_ABI_LAYOUT_H

#include "maps/abi/about.h"
#include "maps/abi/bound.h"
#include "maps/abi/bucket.h"
#include "maps/abi/clock.h"
#include "maps/abi/counter.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/flow.h"
#include "maps/abi/identity.h"
#include "maps/abi/policy.h"
#include "maps/abi/queue.h"
#include "maps/abi/tables.h"

/* about.h */
GRANTD_ASSERT_OFFSET(grantd_slotname, grant, 0);
GRANTD_ASSERT_OFFSET(grantd_slotname, grantor, 320);
GRANTD_ASSERT_OFFSET(grantd_slotname, grantee, 576);
GRANTD_ASSERT_OFFSET(grantd_slotname, file, 832);
GRANTD_ASSERT_OFFSET(grantd_slotname, line, 1088);
GRANTD_ASSERT_OFFSET(grantd_slotname, phase, 1092);
GRANTD_ASSERT_OFFSET(grantd_slotname, valid_from_seconds, 1096);
GRANTD_ASSERT_OFFSET(grantd_slotname, valid_until_seconds, 1104);
GRANTD_ASSERT_OFFSET(grantd_idname, kind, 0);
GRANTD_ASSERT_OFFSET(grantd_idname, name, 4);
GRANTD_ASSERT_OFFSET(grantd_guest, guest, 0);
GRANTD_ASSERT_OFFSET(grantd_guest, uid, 320);
GRANTD_ASSERT_OFFSET(grantd_guest, interface, 384);
GRANTD_ASSERT_OFFSET(grantd_guest, file, 400);
GRANTD_ASSERT_OFFSET(grantd_guest, line, 656);
GRANTD_ASSERT_OFFSET(grantd_guest, ifindex, 660);
GRANTD_ASSERT_OFFSET(grantd_guest, slot, 664);
GRANTD_ASSERT_OFFSET(grantd_guest, pad, 668);
GRANTD_ASSERT_OFFSET(grantd_guest, quarantine, 672);
GRANTD_ASSERT_OFFSET(grantd_source_key, rules_id, 0);
GRANTD_ASSERT_OFFSET(grantd_source_key, source, 4);
GRANTD_ASSERT_OFFSET(grantd_source_key, pad, 6);
GRANTD_ASSERT_OFFSET(grantd_source, text, 0);
GRANTD_ASSERT_OFFSET(grantd_source, file, 128);
GRANTD_ASSERT_OFFSET(grantd_source, line, 384);
GRANTD_ASSERT_OFFSET(grantd_source, pad, 388);
GRANTD_ASSERT_OFFSET(grantd_node, node, 0);
GRANTD_ASSERT_OFFSET(grantd_node, version, 256);
GRANTD_ASSERT_OFFSET(grantd_node, manifests, 320);
GRANTD_ASSERT_OFFSET(grantd_node, next_policy_id, 576);
GRANTD_ASSERT_OFFSET(grantd_node, next_endpoint_version, 584);
GRANTD_ASSERT_OFFSET(grantd_node, next_endpoint_id, 592);
GRANTD_ASSERT_OFFSET(grantd_node, next_rules_id, 596);
GRANTD_ASSERT_OFFSET(grantd_node, stamp_mask, 600);
GRANTD_ASSERT_OFFSET(grantd_node, pid, 604);
GRANTD_ASSERT_OFFSET(grantd_node, applied_at_ns, 608);
GRANTD_ASSERT_OFFSET(grantd_node, boot_to_wall_ns, 616);

/* bound.h */
GRANTD_ASSERT_OFFSET(grantd_bound, most, 0);
GRANTD_ASSERT_OFFSET(grantd_bound, used, 8);
GRANTD_ASSERT_OFFSET(grantd_bound, refused, 16);

/* bucket.h */
GRANTD_ASSERT_OFFSET(grantd_bucket, lock, 0);
GRANTD_ASSERT_OFFSET(grantd_bucket, pad, 4);
GRANTD_ASSERT_OFFSET(grantd_bucket, full_at_ns, 8);
GRANTD_ASSERT_OFFSET(grantd_bucket, cost_per_byte, 16);
GRANTD_ASSERT_OFFSET(grantd_bucket, grant_epoch, 24);
GRANTD_ASSERT_OFFSET(grantd_bucket, burst_bytes, 32);
GRANTD_ASSERT_OFFSET(grantd_bucket, owed_bytes, 40);
GRANTD_ASSERT_OFFSET(grantd_credit, bytes, 0);
GRANTD_ASSERT_OFFSET(grantd_credit, grant_epoch, 8);

/* clock.h */
GRANTD_ASSERT_OFFSET(grantd_clock, now_ns, 0);
GRANTD_ASSERT_OFFSET(grantd_clock, tick, 8);

/* counter.h */
GRANTD_ASSERT_OFFSET(grantd_counter, packets, 0);
GRANTD_ASSERT_OFFSET(grantd_counter, bytes, 8);
GRANTD_ASSERT_OFFSET(grantd_counter, last_seen_ns, 16);
GRANTD_ASSERT_OFFSET(grantd_counter, last_event_ns, 24);
GRANTD_ASSERT_OFFSET(grantd_explanation, policy_id, 0);
GRANTD_ASSERT_OFFSET(grantd_explanation, reason, 8);
GRANTD_ASSERT_OFFSET(grantd_explanation, slot, 12);
GRANTD_ASSERT_OFFSET(grantd_explanation, endpoint_id, 16);
GRANTD_ASSERT_OFFSET(grantd_explanation, identity, 20);
GRANTD_ASSERT_OFFSET(grantd_explanation, rules_id, 24);
GRANTD_ASSERT_OFFSET(grantd_explanation, source, 28);
GRANTD_ASSERT_OFFSET(grantd_explanation, by_identity, 30);
GRANTD_ASSERT_OFFSET(grantd_explanation, concluded, 31);

/* endpoint.h */
GRANTD_ASSERT_OFFSET(grantd_endpoint, version, 0);
GRANTD_ASSERT_OFFSET(grantd_endpoint, ifindex, 8);
GRANTD_ASSERT_OFFSET(grantd_endpoint, endpoint_id, 12);
GRANTD_ASSERT_OFFSET(grantd_endpoint, slot, 16);
GRANTD_ASSERT_OFFSET(grantd_endpoint, flags, 20);
GRANTD_ASSERT_OFFSET(grantd_endpoint, mac, 24);
GRANTD_ASSERT_OFFSET(grantd_endpoint, pad, 30);
GRANTD_ASSERT_OFFSET(grantd_endpoint, ipv4, 32);
GRANTD_ASSERT_OFFSET(grantd_endpoint, ipv6, 48);
GRANTD_ASSERT_OFFSET(grantd_endpoint, link_local, 112);
GRANTD_ASSERT_OFFSET(grantd_endpoint, gateway, 128);
GRANTD_ASSERT_OFFSET(grantd_endpoint, version_again, 192);

/* flow.h */
GRANTD_ASSERT_OFFSET(grantd_flow_key, endpoint_id, 0);
GRANTD_ASSERT_OFFSET(grantd_flow_key, protocol, 4);
GRANTD_ASSERT_OFFSET(grantd_flow_key, echo_initiator, 5);
GRANTD_ASSERT_OFFSET(grantd_flow_key, pad, 6);
GRANTD_ASSERT_OFFSET(grantd_flow_key, local_address, 8);
GRANTD_ASSERT_OFFSET(grantd_flow_key, peer_address, 24);
GRANTD_ASSERT_OFFSET(grantd_flow_key, local_port, 40);
GRANTD_ASSERT_OFFSET(grantd_flow_key, peer_port, 42);
GRANTD_ASSERT_OFFSET(grantd_flow, seal, 0);
GRANTD_ASSERT_OFFSET(grantd_flow, policy_id, 8);
GRANTD_ASSERT_OFFSET(grantd_flow, not_after_ns, 16);
GRANTD_ASSERT_OFFSET(grantd_flow, last_seen_ns, 24);
GRANTD_ASSERT_OFFSET(grantd_flow, peer_identity, 32);
GRANTD_ASSERT_OFFSET(grantd_flow, realm_epoch, 36);
GRANTD_ASSERT_OFFSET(grantd_flow, initiator, 40);
GRANTD_ASSERT_OFFSET(grantd_flow, flags, 44);
GRANTD_ASSERT_OFFSET(grantd_flow, guest_identity, 48);
GRANTD_ASSERT_OFFSET(grantd_flow, pad, 52);
GRANTD_ASSERT_OFFSET(grantd_frag_key, endpoint_id, 0);
GRANTD_ASSERT_OFFSET(grantd_frag_key, id, 4);
GRANTD_ASSERT_OFFSET(grantd_frag_key, source, 8);
GRANTD_ASSERT_OFFSET(grantd_frag_key, destination, 24);
GRANTD_ASSERT_OFFSET(grantd_frag_key, protocol, 40);
GRANTD_ASSERT_OFFSET(grantd_frag_key, direction, 41);
GRANTD_ASSERT_OFFSET(grantd_frag_key, pad, 42);
GRANTD_ASSERT_OFFSET(grantd_frag, seal, 0);
GRANTD_ASSERT_OFFSET(grantd_frag, policy_id, 8);
GRANTD_ASSERT_OFFSET(grantd_frag, first_seen_ns, 16);
GRANTD_ASSERT_OFFSET(grantd_frag, header_bytes, 24);
GRANTD_ASSERT_OFFSET(grantd_frag, identity, 28);
GRANTD_ASSERT_OFFSET(grantd_seal, secret, 0);

/* identity.h */
GRANTD_ASSERT_OFFSET(grantd_identity_key, prefixlen, 0);
GRANTD_ASSERT_OFFSET(grantd_identity_key, uplink_class, 4);
GRANTD_ASSERT_OFFSET(grantd_identity_key, family, 5);
GRANTD_ASSERT_OFFSET(grantd_identity_key, pad, 6);
GRANTD_ASSERT_OFFSET(grantd_identity_key, address, 8);
GRANTD_ASSERT_OFFSET(grantd_identity, identity, 0);
GRANTD_ASSERT_OFFSET(grantd_uplink, ifindex, 0);
GRANTD_ASSERT_OFFSET(grantd_uplink, uplink_class, 4);
GRANTD_ASSERT_OFFSET(grantd_uplink, layer3, 5);
GRANTD_ASSERT_OFFSET(grantd_uplink, pad, 6);

/* policy.h */
GRANTD_ASSERT_OFFSET(grantd_grant, policy_id, 0);
GRANTD_ASSERT_OFFSET(grantd_limit, rate_bps, 0);
GRANTD_ASSERT_OFFSET(grantd_limit, burst_bytes, 8);
GRANTD_ASSERT_OFFSET(grantd_limit, cost_per_byte, 16);
GRANTD_ASSERT_OFFSET(grantd_limit, burst_ns, 24);
GRANTD_ASSERT_OFFSET(grantd_limit, quantum_bytes, 32);
GRANTD_ASSERT_OFFSET(grantd_policy, not_before_ns, 0);
GRANTD_ASSERT_OFFSET(grantd_policy, not_after_ns, 8);
GRANTD_ASSERT_OFFSET(grantd_policy, grant_epoch, 16);
GRANTD_ASSERT_OFFSET(grantd_policy, rules_id, 24);
GRANTD_ASSERT_OFFSET(grantd_policy, slot, 28);
GRANTD_ASSERT_OFFSET(grantd_policy, realm_epoch, 32);
GRANTD_ASSERT_OFFSET(grantd_policy, end_reason, 36);
GRANTD_ASSERT_OFFSET(grantd_policy, identity, 40);
GRANTD_ASSERT_OFFSET(grantd_policy, grantor_identity, 44);
GRANTD_ASSERT_OFFSET(grantd_policy, grantee_identity, 48);
GRANTD_ASSERT_OFFSET(grantd_policy, pad, 52);
GRANTD_ASSERT_OFFSET(grantd_policy, limit, 56);
GRANTD_ASSERT_OFFSET(grantd_range, protocol, 0);
GRANTD_ASSERT_OFFSET(grantd_range, pad, 1);
GRANTD_ASSERT_OFFSET(grantd_range, source, 2);
GRANTD_ASSERT_OFFSET(grantd_range, low, 4);
GRANTD_ASSERT_OFFSET(grantd_range, high, 6);
GRANTD_ASSERT_OFFSET(grantd_rule_key, prefixlen, 0);
GRANTD_ASSERT_OFFSET(grantd_rule_key, rules_id, 4);
GRANTD_ASSERT_OFFSET(grantd_rule_key, direction, 8);
GRANTD_ASSERT_OFFSET(grantd_rule_key, family, 9);
GRANTD_ASSERT_OFFSET(grantd_rule_key, pad, 10);
GRANTD_ASSERT_OFFSET(grantd_rule_key, address, 12);
GRANTD_ASSERT_OFFSET(grantd_idrule_key, rules_id, 0);
GRANTD_ASSERT_OFFSET(grantd_idrule_key, identity, 4);
GRANTD_ASSERT_OFFSET(grantd_idrule_key, direction, 8);
GRANTD_ASSERT_OFFSET(grantd_ranges, count, 0);
GRANTD_ASSERT_OFFSET(grantd_ranges, protected_range, 2);
GRANTD_ASSERT_OFFSET(grantd_ranges, pad, 4);
GRANTD_ASSERT_OFFSET(grantd_ranges, range, 8);

/* queue.h */
GRANTD_ASSERT_OFFSET(grantd_shaper, mode, 0);
GRANTD_ASSERT_OFFSET(grantd_shaper, queue_ifindex, 4);
GRANTD_ASSERT_OFFSET(grantd_shaper, release_ifindex, 8);
GRANTD_ASSERT_OFFSET(grantd_shaper, secret, 12);
GRANTD_ASSERT_OFFSET(grantd_shaper, why, 16);
GRANTD_ASSERT_OFFSET(grantd_queue, class_id, 0);
GRANTD_ASSERT_OFFSET(grantd_usage_key, endpoint_id, 0);
GRANTD_ASSERT_OFFSET(grantd_usage_key, direction, 4);
GRANTD_ASSERT_OFFSET(grantd_usage, allowed_bytes, 0);
GRANTD_ASSERT_OFFSET(grantd_usage, allowed_packets, 8);
GRANTD_ASSERT_OFFSET(grantd_usage, queued_bytes, 16);
GRANTD_ASSERT_OFFSET(grantd_usage, queued_packets, 24);
GRANTD_ASSERT_OFFSET(grantd_usage, returned_bytes, 32);
GRANTD_ASSERT_OFFSET(grantd_usage, returned_packets, 40);
GRANTD_ASSERT_OFFSET(grantd_usage, refused_bytes, 48);
GRANTD_ASSERT_OFFSET(grantd_usage, refused_packets, 56);
GRANTD_ASSERT_OFFSET(grantd_delay, grant_epoch, 0);
GRANTD_ASSERT_OFFSET(grantd_delay, total_us, 8);
GRANTD_ASSERT_OFFSET(grantd_delay, packets, 16);

/* tables.h */
GRANTD_ASSERT_OFFSET(grantd_slot_tables, counter, 0);
GRANTD_ASSERT_OFFSET(grantd_slot_tables, frag, 4);
GRANTD_ASSERT_OFFSET(grantd_slot_tables, flow, 8);
GRANTD_ASSERT_OFFSET(grantd_tables, first_slot, 0);
GRANTD_ASSERT_OFFSET(grantd_tables, slots, 4);

#endif
