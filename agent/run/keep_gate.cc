#include "agent/run/keep_gate.h"

#include "agent/node/clock.h"
#include "agent/plan/encode.h"
#include "agent/run/gate_missing.h"

#include <map>
#include <string>

namespace grantd {

namespace {

Gated gated_by(const KernelState& kernel, const std::vector<InterfaceFact>& interfaces) {
  std::map<std::uint32_t, std::string> names;
  for (const InterfaceFact& each : interfaces) names[each.ifindex] = each.name;
  Gated gated;
  for (const auto* standing : {&kernel.attachments, &kernel.behind})
    for (const Attachment& each : *standing)
      if (const auto name = names.find(each.ifindex); name != names.end()) {
        if (each.hook == Hook::FromGuest) gated.guests.insert({each.ifindex, name->second});
        if (each.hook == Hook::FromUplink) gated.uplinks.insert({each.ifindex, name->second});
      }
  // In quarantine no answer begins a flow; and of a guest that is gone the address may be elsewhere.
  for (const auto& [ifindex, endpoint] : kernel.endpoints)
    if (endpoint.slot != 0)
      for (const IpAddress& each : used_addresses(endpoint)) gated.addresses.insert(each);
  return gated;
}

Problem dropped(const std::string& object, const std::string& what) {
  return {Severity::Warning, {}, object, "", "", what + "; they were dropped", ""};
}

}  // namespace

bool keep_gate(Gate& gate, bool look, const KernelState& kernel, const std::vector<InterfaceFact>& interfaces,
               AgentStatus& status, std::vector<Problem>& problems) {
  const Gated gated = gated_by(kernel, interfaces);
  const std::uint64_t mended = gate.mended();
  const auto kept = gate.keep(gated, look);
  status.drift_repaired += gate.mended() - mended;
  tell_whether_missing(kept, gate.stands(), boot_now(), status);
  if (!status.gate_missing->empty())
    problems.push_back({Severity::Error,
                        {},
                        "nftables",
                        "",
                        "",
                        "what guests send past the programs may not be dropped: " + *status.gate_missing,
                        "a kernel with nf_tables for inet, bridge and arp"});
  else if (!kept)
    problems.push_back(
        {Severity::Warning,
         {},
         "nftables",
         "",
         "",
         "it could not be read whether the gate stands, which did when it was read last: " + kept.error().message,
         ""});
  status.unjudged_packets = status.forged_packets = 0;
  const GateDrops drops = gate.dropped();
  for (const auto& [interface, packets] : drops.unjudged) {
    status.unjudged_packets += packets;
    if (gated.guests.contains(interface))
      problems.push_back(dropped("interface " + interface.name,
                                 "its guest sent packets that the kernel passes by the programs at tc"));
  }
  for (const auto& [address, packets] : drops.forged) {
    status.forged_packets += packets;
    if (gated.addresses.contains(address))
      problems.push_back(dropped("address " + address.text(),
                                 "packets for this node came in the name of this guest, and not from it"));
  }
  return kept.ok() || !Gate::may_pass(kept.error());
}

}  // namespace grantd
