// What the API server and people are told of this node: its GrantNodeStatus, and Events. Nothing waits for it.
#pragma once

#include "agent/metrics/agent_status.h"
#include "agent/plan/plan.h"
#include "agent/status/assess.h"
#include "agent/status/violations.h"
#include "crd-sync/kubernetes/kubernetes_source.h"
#include "crd-sync/status/event_sender.h"
#include "crd-sync/status/status_writer.h"
#include "maps/kernel/datapath_maps.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

namespace grantd {

class ClusterReport {
 public:
  // Both outlive this, and `source` sends nothing of it any more once it is gone.
  ClusterReport(const std::string& node, KubernetesSource& source, const DatapathMaps& maps);

  // After a pass. While guests wait for their turn what is told changes all the time: it is due less often.
  bool is_due(BootNanoseconds now, bool guests_wait = false) const {
    return now >= (guests_wait ? std::max(look_at_, looked_at_ + kLatest) : look_at_);
  }
  // `missing` and `waiting` as StatusFacts has them.
  void look(const DesiredState& desired, const CompiledPolicy& compiled, const KernelState& kernel, const Plan& missing,
            const std::set<std::string>& waiting, const AgentStatus& agent);
  // A pass changed something: look before long, and not more often than is good.
  void changed() { look_at_ = std::min(look_at_, looked_at_ + kSoonest); }

  // Sends what is due. Cheap.
  void drive();
  // When there is something to look at or to send, though nothing happens.
  BootNanoseconds next_due() const;

  // The kinds that are followed, and what was written.
  void tell(AgentStatus& status) const;

 private:
  static constexpr BootNanoseconds kSoonest = GRANTD_NS_PER_SECOND;
  static constexpr BootNanoseconds kLatest = 10 * GRANTD_NS_PER_SECOND;  // refused packets say nothing of themselves

  void tell_people(const StatusFacts& facts, const NodeStatus& status);
  void tell_violations(const StatusFacts& facts);

  const std::string node_;
  KubernetesSource& source_;
  const DatapathMaps& maps_;
  StatusWriter writer_;
  EventSender sender_;
  std::optional<ViolationWatch> violations_;
  std::optional<NodeStatus> before_;  // as it was wanted last, or found
  BootNanoseconds looked_at_ = 0, look_at_ = 0;
  bool read_failed_ = false, status_failed_ = false, events_failed_ = false;  // and were told of in the log
};

}  // namespace grantd
