// What the manifests say beside what stands in the maps, field by field. Pure.
#pragma once

#include "agent/plan/kernel_state.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

struct RuleKey {
  std::uint8_t direction = GRANTD_EGRESS, family = GRANTD_IPV4;
  IpPrefix prefix;
  auto operator<=>(const RuleKey&) const = default;
};

struct Records {
  KernelState state;  // without tables; our programs are taken to stand where there are records
  std::map<std::uint32_t, std::map<RuleKey, grantd_ranges>> rules;  // by rules_id
  // By rules_id; of identity and direction.
  std::map<std::uint32_t, std::map<std::pair<std::uint32_t, std::uint32_t>, grantd_ranges>> identity_rules;
  std::size_t of_every_grant = 0;  // rules whose key is too short to name whose they are
};

struct Said {
  CompiledPolicy policy;
  std::map<std::string, std::string> refused;  // by key of a Grant whose newest version is refused -> why
  std::vector<std::string> not_read;           // Realms that are refused, files and pods that cannot be read: why
  bool guests = true;                          // false: pods are guests here, and manifests do not name them
  unsigned cpus = 1;                           // among which a bucket's burst is shared
  BootNanoseconds now = 0;                     // of two ends that are over either is as good
  std::set<std::uint32_t> bridges;             // that have a guest's interface as a port, by ifindex
};

// What cannot be read, and one line for each field that differs; empty where none does. Not compared: numbers that are
// never used again (epochs, versions, ids) and texts for people. Queues: queue_differences.h.
std::vector<std::string> differences(const Said& said, const Records& found);

}  // namespace grantd
