#include "agent/run/keep_gate.h"

#include <map>
#include <set>
#include <string>

namespace grantd {

bool keep_gate(Gate& gate, bool look, const KernelState& kernel, const std::vector<InterfaceFact>& interfaces,
               AgentStatus& status, std::vector<Problem>& problems) {
  std::map<std::uint32_t, std::string> names;
  for (const InterfaceFact& each : interfaces) names[each.ifindex] = each.name;
  std::set<GatedInterface> guests;
  for (const auto* standing : {&kernel.attachments, &kernel.behind})
    for (const Attachment& each : *standing)
      if (const auto name = names.find(each.ifindex); each.hook == Hook::FromGuest && name != names.end())
        guests.insert({each.ifindex, name->second});
  const std::uint64_t mended = gate.mended();
  const auto kept = gate.keep(guests, look);
  status.drift_repaired += gate.mended() - mended;
  if (!kept)
    problems.push_back({Severity::Error,
                        {},
                        "nftables",
                        "",
                        "",
                        "what guests send past the programs may not be dropped: " + kept.error().message,
                        "a kernel with nf_tables for inet, bridge and arp"});
  status.unjudged_packets = 0;
  for (const auto& [interface, packets] : gate.dropped()) {
    status.unjudged_packets += packets;
    if (packets > 0 && guests.contains(interface))
      problems.push_back({Severity::Warning,
                          {},
                          "interface " + interface.name,
                          "",
                          "",
                          "its guest sent packets that the kernel passes by the programs at tc; they were dropped",
                          ""});
  }
  return kept.ok() || !Gate::may_pass(kept.error());
}

}  // namespace grantd
