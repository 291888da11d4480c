#include "agent/compile/endpoints.h"

#include "agent/compile/realm_prefixes.h"
#include "crd-sync/element_path.h"

#include <algorithm>
#include <map>

namespace grantd {

namespace {

void quarantine(CompiledEndpoint& endpoint, Cause cause, std::string why) {
  endpoint.cause = cause;
  endpoint.quarantine = std::move(why);
}

class EndpointCompiler {
 public:
  EndpointCompiler(const NodeFacts& node, const std::set<std::string>& known_grants, const GrantChoice& choice,
                   std::vector<UnheldGuest>& unheld, std::vector<Problem>& problems)
      : node_(node),
        known_grants_(known_grants),
        choice_(choice),
        unheld_(unheld),
        problems_(problems),
        own_(node_addresses(node)) {
    for (const IpPrefix& each : own_)
      if (each.length < each.address.bits()) own_ranges_.push_back(each);
    for (const InterfaceFact& each : node.interfaces) {
      by_name_[each.name] = &each;
      by_index_[each.ifindex] = &each;
    }
  }

  void add(const Workload& workload, std::vector<CompiledEndpoint>& endpoints) {
    if (workload.pod) {
      add_pod(workload, endpoints);
      return;
    }
    CompiledEndpoint endpoint = named(workload);
    endpoint.host_network = workload.interface.empty();
    // As addresses of the Grant they would open the node to the guest's siblings.
    if (!endpoint.host_network)
      set_addresses(workload.addresses, endpoint);
    else if (!workload.addresses.empty())
      report(Severity::Warning, workload, address_field(0), workload.addresses[0].text(),
             "has no effect on the host network, whose addresses are the node's");
    if (!take_cgroup(workload, endpoint) || !take_interface(workload, endpoint)) return;
    if (!workload.quarantine.empty())
      report(Severity::Warning, workload, "spec.interface", workload.interface,
             "the Workload is refused; the guest is in quarantine: nothing passes");
    finish(workload, std::move(endpoint), endpoints);
  }

 private:
  void report(Severity severity, const Workload& workload, std::string field, std::string value, std::string message,
              std::string accepted = "") {
    const SourcePosition position = place_of_field(workload.position, line_of(workload, field));
    problems_.push_back({severity, position, workload.text(), std::move(field), std::move(value), std::move(message),
                         std::move(accepted)});
  }

  static int line_of(const Workload& workload, std::string_view field) {
    if (field == "spec.grantName") return workload.grant_line;
    if (field == "spec.interface") return workload.interface_line;
    if (field == "spec.mac") return workload.mac_line;
    if (field == "spec.cgroup") return workload.cgroup_line;
    for (std::size_t index = 0; index < workload.address_lines.size(); index++)
      if (field == address_field(index)) return workload.address_lines[index];
    return 0;
  }

  static std::string address_field(std::size_t index) { return element_path("spec.addresses", index); }

  static std::string field_of(const Workload& workload, const IpAddress& address) {
    const auto found = std::find(workload.addresses.begin(), workload.addresses.end(), address);
    return workload.pod ? "status.podIPs" : address_field(static_cast<std::size_t>(found - workload.addresses.begin()));
  }

  static CompiledEndpoint named(const Workload& workload) {
    CompiledEndpoint endpoint;
    endpoint.guest = workload.name;
    endpoint.position = workload.position;
    endpoint.quarantine = workload.quarantine;
    endpoint.cause = workload.cause;
    return endpoint;
  }

  static void set_addresses(const std::vector<IpAddress>& addresses, CompiledEndpoint& endpoint) {
    endpoint.addresses.reserve(addresses.size());
    for (const IpAddress& address : addresses) {
      if (address.is_link_local())
        endpoint.link_local = address;
      else
        endpoint.addresses.push_back(address);
    }
  }

  void finish(const Workload& workload, CompiledEndpoint endpoint, std::vector<CompiledEndpoint>& endpoints) {
    if (endpoint.quarantine.empty()) take_grant(workload, endpoint);
    if (!endpoint.quarantine.empty()) endpoint.grant.clear();
    endpoints.push_back(std::move(endpoint));
  }

  // One endpoint for each of its interfaces; on the host network one for its cgroup.
  void add_pod(const Workload& workload, std::vector<CompiledEndpoint>& endpoints) {
    const GuestPod& pod = *workload.pod;
    if (!workload.quarantine.empty())
      report(Severity::Warning, workload, "", "", workload.quarantine + "; the guest is in quarantine");
    if (pod.host_network) {
      add_host_pod(workload, endpoints);
      return;
    }
    const auto found = node_.pod_interfaces.find(pod.uid);
    if (found == node_.pod_interfaces.end()) {
      report(Severity::Warning, workload, "", "", "its interface is not found on this node yet");
      // Without an address it has no network yet; and of a pod that ends the interface goes before the API server
      // knows.
      if (!workload.addresses.empty() && !node_.unfound_lately.contains(pod.uid))
        add_unheld(workload, "has an interface that is not found on this node", Cause::InterfaceNotFound);
      return;
    }
    const std::string doubt = doubt_of_addresses(workload, found->second);
    for (const PodInterface& interface : found->second) {
      const auto fact = by_index_.find(interface.ifindex);
      if (fact == by_index_.end()) continue;
      CompiledEndpoint endpoint = named(workload);
      endpoint.uid = pod.uid;
      set_addresses(interface.addresses, endpoint);
      for (const std::string& each : {interface.doubt, doubt}) {
        if (each.empty()) continue;
        if (endpoint.quarantine.empty()) quarantine(endpoint, Cause::NotAsRecorded, each);
        report(Severity::Error, workload, "", "", each + "; the guest is in quarantine");
      }
      if (take_fact(workload, *fact->second, endpoint)) finish(workload, std::move(endpoint), endpoints);
    }
  }

  void add_host_pod(const Workload& workload, std::vector<CompiledEndpoint>& endpoints) {
    const auto found = node_.pod_cgroups.find(workload.pod->uid);
    report(Severity::Warning, workload, "spec.hostNetwork", "true",
           found == node_.pod_cgroups.end()
               ? "a guest on the host network whose cgroup is not found: not enforced"
               : "a guest on the host network is held back by its cgroup only, which packet sockets pass by: not "
                 "enforced");
    if (found == node_.pod_cgroups.end()) {
      add_unheld(workload, "runs on the host's network, and its cgroup is not found", Cause::HostNetwork);
      return;
    }
    CompiledEndpoint endpoint = named(workload);
    endpoint.uid = workload.pod->uid;
    endpoint.host_network = true;
    endpoint.cgroup_id = found->second;
    finish(workload, std::move(endpoint), endpoints);
  }

  void add_unheld(const Workload& workload, const char* why, Cause cause) {
    CompiledEndpoint endpoint = named(workload);
    if (endpoint.quarantine.empty()) take_grant(workload, endpoint);
    unheld_.push_back({endpoint.guest, endpoint.quarantine.empty() ? endpoint.grant : "", why, cause});
  }

  // What the API server says of the pod must be what the node has found.
  static std::string doubt_of_addresses(const Workload& workload, const std::vector<PodInterface>& interfaces) {
    for (const IpAddress& address : workload.addresses) {
      const bool there = std::any_of(interfaces.begin(), interfaces.end(), [&](const PodInterface& each) {
        return std::find(each.addresses.begin(), each.addresses.end(), address) != each.addresses.end();
      });
      if (!there) return "the API server says address " + address.text() + ", which none of its interfaces has";
    }
    return "";
  }

  bool take_cgroup(const Workload& workload, CompiledEndpoint& endpoint) {
    if (workload.cgroup.empty()) return true;
    const auto found = node_.cgroup_ids.find(workload.cgroup);
    if (found != node_.cgroup_ids.end()) {
      endpoint.cgroup_id = found->second;
      if (endpoint.host_network)
        report(
            Severity::Warning, workload, "spec.interface", "",
            "a guest on the host network is held back by its cgroup only, which packet sockets pass by: not enforced");
      return true;
    }
    report(Severity::Warning, workload, "spec.cgroup", workload.cgroup, "no such cgroup on this node yet");
    return !endpoint.host_network;
  }

  bool take_interface(const Workload& workload, CompiledEndpoint& endpoint) {
    if (endpoint.host_network) return true;
    const auto found = by_name_.find(workload.interface);
    if (found == by_name_.end()) {
      report(Severity::Warning, workload, "spec.interface", workload.interface, "no such interface on this node yet");
      return false;
    }
    return take_fact(workload, *found->second, endpoint);
  }

  bool take_fact(const Workload& workload, const InterfaceFact& interface, CompiledEndpoint& endpoint) {
    if (interface.loopback || is_uplink(interface.name)) {
      report(Severity::Error, workload, workload.pod ? "" : "spec.interface", interface.name,
             std::string(interface.loopback ? "is the loopback interface" : "is an uplink of this node") +
                 ", which cannot be closed: nothing holds this guest",
             "the host's side of an interface that only this guest uses");
      return false;
    }
    endpoint.interface = interface.name;
    endpoint.ifindex = interface.ifindex;
    endpoint.layer3 = interface.layer3;
    take_gateways(interface, endpoint);
    take_mac(workload, interface, endpoint);
    check_addresses(workload, endpoint);
    return true;
  }

  // The node asks for a guest by the address that its packet comes from, where the bridge or the interface that it asks
  // on has that one, and else by a link-local one. By what there is no room for it asks in vain.
  void take_gateways(const InterfaceFact& interface, CompiledEndpoint& endpoint) const {
    endpoint.gateways = interface.link_local;
    const auto add_global = [&](const InterfaceFact& side) {
      for (const IpAddress& address : side.addresses)
        if (address.family == Family::IPv6) endpoint.gateways.push_back(address);
    };
    add_global(interface);
    if (const auto bridge = by_index_.find(interface.master); bridge != by_index_.end()) add_global(*bridge->second);
    if (endpoint.gateways.size() > GRANTD_GATEWAYS_PER_ENDPOINT) endpoint.gateways.resize(GRANTD_GATEWAYS_PER_ENDPOINT);
  }

  void take_mac(const Workload& workload, const InterfaceFact& interface, CompiledEndpoint& endpoint) {
    if (interface.layer3) {
      endpoint.link_local = IpAddress{Family::IPv6, {}};
      return;
    }
    if (workload.mac) {
      endpoint.mac = *workload.mac;
    } else if (interface.peer_mac) {
      endpoint.mac = *interface.peer_mac;
    } else if (workload.cause == Cause::WorkloadRefused) {
      return;  // nothing passes, whatever its address
    } else {
      quarantine(endpoint, Cause::MacUnknown, "the MAC address of the guest's end is not known");
      if (!workload.pod) endpoint.quarantine += "; give spec.mac";
      report(Severity::Error, workload, workload.pod ? "" : "spec.mac", "",
             "the kernel does not tell the MAC address of the guest's end of " + interface.name +
                 "; the guest is in quarantine",
             "the MAC address, as aa:bb:cc:dd:ee:ff");
      return;
    }
    if (endpoint.link_local.family != Family::IPv6) endpoint.link_local = endpoint.mac.link_local();
  }

  bool is_own(const IpAddress& address) const {
    const IpPrefix alone{address, address.bits()};
    return std::binary_search(own_.begin(), own_.end(), alone) ||
           std::any_of(own_ranges_.begin(), own_ranges_.end(),
                       [&](const IpPrefix& each) { return each.contains(alone); });
  }

  void check_addresses(const Workload& workload, CompiledEndpoint& endpoint) {
    for (const IpAddress& address : endpoint.addresses) {
      if (!is_own(address)) continue;
      quarantine(endpoint, Cause::AddressOfNode, "the address " + address.text() + " is the node's own");
      report(Severity::Error, workload, field_of(workload, address), address.text(),
             "is an address of this node itself; the guest is in quarantine", "addresses of the guest");
    }
  }

  void take_grant(const Workload& workload, CompiledEndpoint& endpoint) {
    if (workload.pod) {
      ChosenGrant chosen = choice_.of(*workload.pod);
      endpoint.grant = std::move(chosen.key);
      quarantine(endpoint, chosen.cause, std::move(chosen.why));
      if (endpoint.grant.empty())
        report(Severity::Warning, workload, "", "", endpoint.quarantine + "; the guest is in quarantine");
      return;
    }
    endpoint.grant = workload.grant;
    if (known_grants_.contains(workload.grant)) return;
    // What the sources refused is not among the Grants, but has its errors here already.
    const bool refused = std::any_of(problems_.begin(), problems_.end(), [&](const Problem& each) {
      return each.severity == Severity::Error && each.object == "Grant " + workload.grant;
    });
    quarantine(endpoint, refused ? Cause::GrantRefused : Cause::NoGrant,
               refused ? "the Grant " + workload.grant + " was refused" : "there is no Grant " + workload.grant);
    report(Severity::Warning, workload, "spec.grantName", workload.grant,
           refused ? "this Grant was refused; the guest is in quarantine"
                   : "there is no such Grant; the guest is in quarantine");
  }

  bool is_uplink(const std::string& name) const {
    return std::any_of(node_.uplink_rules.begin(), node_.uplink_rules.end(),
                       [&](const UplinkRule& rule) { return matches_glob(rule.interface_glob, name); });
  }

  const NodeFacts& node_;
  const std::set<std::string>& known_grants_;
  const GrantChoice& choice_;
  std::vector<UnheldGuest>& unheld_;
  std::vector<Problem>& problems_;
  std::vector<IpPrefix> own_, own_ranges_;  // all, and those that are no single address: few
  std::map<std::string, const InterfaceFact*> by_name_;
  std::map<std::uint32_t, const InterfaceFact*> by_index_;
};

// Admission has seen to it for Workloads. Of pods the node has found it out: neither can be told from the other.
void refuse_shared_addresses(std::vector<CompiledEndpoint>& endpoints, std::vector<Problem>& problems) {
  std::map<IpAddress, CompiledEndpoint*> owners;
  for (CompiledEndpoint& endpoint : endpoints)
    for (const IpAddress& address : endpoint.addresses) {
      const auto [owner, first] = owners.try_emplace(address, &endpoint);
      if (first || owner->second == &endpoint) continue;
      for (CompiledEndpoint* each : {owner->second, &endpoint}) {
        each->grant.clear();
        quarantine(*each, Cause::AddressShared, "another guest has its address " + address.text());
      }
      problems.push_back({Severity::Error, endpoint.position, endpoint.guest, "", address.text(),
                          "is also an address of " + owner->second->guest + "; both guests are in quarantine", ""});
    }
}

// A name that nothing has may be misspelt; a pattern may match nothing on purpose.
void report_absent(const UplinkRule& rule, const std::vector<InterfaceFact>& interfaces,
                   std::vector<Problem>& problems) {
  const std::string& name = rule.interface_glob;
  if (name.find_first_of("*?") != std::string::npos ||
      std::any_of(interfaces.begin(), interfaces.end(), [&](const InterfaceFact& each) { return each.name == name; }))
    return;
  problems.push_back({Severity::Warning,
                      {},
                      "uplink " + name,
                      "--uplink",
                      name,
                      "no such interface on this node yet; what comes in by another one is judged as that one's",
                      ""});
}

}  // namespace

bool matches_glob(const std::string& glob, const std::string& text) {
  std::size_t at = 0, glob_at = 0, star = std::string::npos, star_at = 0;
  while (at < text.size()) {
    if (glob_at < glob.size() && (glob[glob_at] == '?' || glob[glob_at] == text[at]) && glob[glob_at] != '*') {
      at++;
      glob_at++;
    } else if (glob_at < glob.size() && glob[glob_at] == '*') {
      star = glob_at++;
      star_at = at;
    } else if (star != std::string::npos) {
      glob_at = star + 1;
      at = ++star_at;
    } else {
      return false;
    }
  }
  while (glob_at < glob.size() && glob[glob_at] == '*') glob_at++;
  return glob_at == glob.size();
}

std::vector<CompiledEndpoint> compile_endpoints(const std::vector<Workload>& workloads, const NodeFacts& node,
                                                const std::set<std::string>& known_grants, const GrantChoice& choice,
                                                std::vector<UnheldGuest>& unheld, std::vector<Problem>& problems) {
  std::vector<CompiledEndpoint> endpoints;
  EndpointCompiler compiler(node, known_grants, choice, unheld, problems);
  for (const Workload& workload : workloads) compiler.add(workload, endpoints);
  refuse_shared_addresses(endpoints, problems);
  return endpoints;
}

std::vector<CompiledUplink> compile_uplinks(const NodeFacts& node, const std::vector<CompiledEndpoint>& endpoints,
                                            std::vector<Problem>& problems) {
  std::set<std::uint32_t> guests, bridges_with_guests;
  for (const CompiledEndpoint& each : endpoints) guests.insert(each.ifindex);
  for (const InterfaceFact& each : node.interfaces)
    if (each.master && guests.contains(each.ifindex)) bridges_with_guests.insert(each.master);
  std::vector<CompiledUplink> uplinks;
  for (const InterfaceFact& each : node.interfaces) {
    if (each.loopback || guests.contains(each.ifindex)) continue;
    const auto rule = std::find_if(node.uplink_rules.begin(), node.uplink_rules.end(),
                                   [&](const UplinkRule& one) { return matches_glob(one.interface_glob, each.name); });
    if (rule == node.uplink_rules.end()) {
      if (each.tunnel) uplinks.push_back({each.name, each.ifindex, GRANTD_UPLINK_UNTRUSTED, each.layer3, true});
      continue;
    }
    if (bridges_with_guests.contains(each.ifindex)) {
      problems.push_back({Severity::Error,
                          {},
                          "uplink " + each.name,
                          "--uplink",
                          rule->interface_glob,
                          "is a bridge with guests' interfaces as ports; its own program would take their stamps away",
                          "the bridge's other ports, by name"});
      continue;
    }
    uplinks.push_back(
        {each.name, each.ifindex, static_cast<std::uint8_t>(rule->uplink_class), each.layer3, each.tunnel});
  }
  for (const UplinkRule& rule : node.uplink_rules) report_absent(rule, node.interfaces, problems);
  std::sort(uplinks.begin(), uplinks.end(),
            [](const CompiledUplink& a, const CompiledUplink& b) { return a.interface < b.interface; });
  return uplinks;
}

}  // namespace grantd
