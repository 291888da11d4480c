// A snapshot as a node with two Grants would give it, for tests of what is shown.
#pragma once

#include "agent/snapshot/snapshot.h"
#include "maps/address.h"
#include "maps/fixed_text.h"

#include <cstring>

namespace grantd::samples {

inline constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;
inline constexpr std::uint64_t kBootNow = 5000 * kSecond;
inline constexpr std::int64_t kWallNow = 1'767'225'600LL * 1'000'000'000;  // 2026-01-01T00:00:00Z

template <typename Record>
Record zeros() {
  Record record;
  std::memset(static_cast<void*>(&record), 0, sizeof(record));
  return record;
}

inline grantd_slotname slot_name(const char* grant, const char* grantor, const char* grantee) {
  auto name = zeros<grantd_slotname>();
  copy_text(name.grant, grant);
  copy_text(name.grantor, grantor);
  copy_text(name.grantee, grantee);
  copy_text(name.file, "/etc/grantd/grants.yaml");
  name.line = 7;
  name.phase = GRANTD_PHASE_ACTIVE;
  return name;
}

inline grantd_policy policy(std::uint32_t slot) {
  auto record = zeros<grantd_policy>();
  record.slot = slot;
  record.rules_id = slot + 100;
  record.grant_epoch = 1;
  record.realm_epoch = 1;
  record.not_after_ns = GRANTD_TIME_NEVER;
  record.end_reason = GRANTD_REASON_EXPIRED;
  return record;
}

inline grantd_limit limit(std::uint64_t rate_bps, std::uint64_t burst_bytes) {
  auto record = zeros<grantd_limit>();
  record.rate_bps = rate_bps;
  record.burst_bytes = burst_bytes;
  record.cost_per_byte = ((8 * kSecond) << GRANTD_COST_SHIFT) / rate_bps;
  record.burst_ns = burst_bytes * 8 * kSecond / rate_bps;
  return record;
}

inline grantd_guest guest(const char* name, const char* interface, std::uint32_t ifindex, std::uint32_t slot) {
  auto record = zeros<grantd_guest>();
  copy_text(record.guest, name);
  copy_text(record.interface, interface);
  record.ifindex = ifindex;
  record.slot = slot;
  return record;
}

inline grantd_endpoint endpoint(std::uint32_t ifindex, std::uint32_t id, std::uint32_t slot, const char* address) {
  auto record = zeros<grantd_endpoint>();
  record.version = record.version_again = 40 + id;
  record.ifindex = ifindex;
  record.endpoint_id = id;
  record.slot = slot;
  record.mac[0] = 2;
  std::memcpy(&record.ipv4[0], IpAddress::parse(address).value().bytes.data(), 4);
  return record;
}

// Slot 1 is active and limited, slot 2 ended a minute ago; one guest in each and one in quarantine.
inline Snapshot node() {
  Snapshot snapshot;
  snapshot.clock = {kBootNow, kWallNow};
  copy_text(snapshot.node.node, "node-a");
  copy_text(snapshot.node.version, "0.1.0");
  snapshot.node.pid = 4711;
  snapshot.node.stamp_mask = GRANTD_STAMP_MASK_DEFAULT;
  snapshot.node.applied_at_ns = kBootNow - 90 * kSecond;
  snapshot.slot_names[1] = slot_name("keystone-system/alice-to-bob", "alice-home", "bob-home");
  snapshot.slot_names[2] = slot_name("keystone-system/alice-to-carol", "alice-home", "carol");
  snapshot.published = {{1, 11}, {2, 12}};
  snapshot.policies = {{11, policy(1)}, {12, policy(2)}};
  snapshot.policies[11].limit[GRANTD_EGRESS] = limit(100'000'000, 1 << 20);
  snapshot.policies[12].not_after_ns = kBootNow - 60 * kSecond;
  auto realm = zeros<grantd_idname>();
  realm.kind = GRANTD_IDENTITY_KIND_REALM;
  copy_text(realm.name, "bob-home");
  snapshot.identity_names[2] = realm;
  snapshot.guests = {{1, guest("bob-web", "veth-bob", 5, 1)},
                     {2, guest("carol-db", "veth-carol", 6, 2)},
                     {3, guest("orphan", "veth-orphan", 7, 0)}};
  copy_text(snapshot.guests[3].quarantine, "Grant keystone-system/none does not exist");
  snapshot.endpoints = {
      {5, endpoint(5, 1, 1, "10.20.0.2")}, {6, endpoint(6, 2, 2, "10.20.0.3")}, {7, endpoint(7, 3, 0, "10.20.0.4")}};
  for (const std::uint32_t slot : {0U, 1U, 2U}) snapshot.counters[slot].resize(GRANTD_COUNTERS);
  snapshot.counters[0][GRANTD_COUNTER_INDEX(GRANTD_EGRESS, GRANTD_REASON_QUARANTINE)] = {3, 180, kBootNow - 2 * kSecond,
                                                                                         0};
  snapshot.counters[1][GRANTD_COUNTER_INDEX(GRANTD_EGRESS, GRANTD_REASON_DESTINATION)] = {12, 2048,
                                                                                          kBootNow - 12 * kSecond, 0};
  snapshot.counters[1][GRANTD_COUNTER_INDEX(GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED)] = {1000, 1 << 20, kBootNow, 0};
  snapshot.counters[1][GRANTD_COUNTER_INDEX(GRANTD_INGRESS, GRANTD_REASON_NOBODY)] = {1, 60, kBootNow - kSecond, 0};
  return snapshot;
}

}  // namespace grantd::samples
