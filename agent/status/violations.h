// Refused packets that somebody should be told of: those that came since they were told last. Pure.
#pragma once

#include "agent/snapshot/snapshot.h"
#include "crd-sync/status/event_sender.h"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace grantd {

struct Violation {
  std::string grant;  // NAMESPACE/NAME
  std::uint32_t direction = 0, reason = 0;
  std::uint64_t packets = 0;  // since they were told last
};

class ViolationWatch {
 public:
  // What was counted for these Grants before this agent came is not told again.
  explicit ViolationWatch(std::set<std::string> there_before) : before_(std::move(there_before)) {}

  // `counters`: a Grant's whole table, indexed by GRANTD_COUNTER_INDEX.
  std::vector<Violation> look(const std::string& grant, const std::vector<grantd_counter>& counters);
  void told(const Violation& violation);  // what came since `violation` was found is told later
  // All other Grants are forgotten.
  void keep(const std::set<std::string>& grants);

 private:
  using Key = std::tuple<std::string, std::uint32_t, std::uint32_t>;
  std::set<std::string> before_;                 // and not looked at yet
  std::map<Key, std::uint64_t> counted_, told_;  // packets by now, and when they were told
};

// Not of housekeeping that alarms nobody, nor of what another Event or the Grant itself says.
bool is_violation(std::uint32_t reason);

Occasion violation_occasion(const Violation& violation, const std::string& uid, const std::string& node);

}  // namespace grantd
