#include "agent/run/check.h"

#include "agent/compile/compile.h"
#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"
#include "crd-sync/counted_text.h"
#include "crd-sync/destination.h"
#include "crd-sync/manifest_directory.h"
#include "crd-sync/read_object.h"
#include "crd-sync/time_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <ostream>

namespace grantd {

namespace {

using nlohmann::json;

// The manifests are taken as if every interface that they name were there.
NodeFacts imagined_node(const Settings& settings, const DesiredState& desired) {
  NodeFacts node;
  node.uplink_rules = settings.uplinks;
  node.pod_cidrs = settings.pod_cidrs;
  node.service_cidrs = settings.service_cidrs;
  std::uint32_t ifindex = 1;
  std::uint64_t cgroup = 1;
  for (const UplinkRule& rule : settings.uplinks) {
    InterfaceFact fact;
    fact.name = rule.interface_glob;
    fact.ifindex = ifindex++;
    node.interfaces.push_back(std::move(fact));
  }
  for (const Workload& workload : desired.workloads) {
    if (!workload.interface.empty()) {
      InterfaceFact fact;
      fact.name = workload.interface;
      fact.ifindex = ifindex++;
      fact.peer_mac = MacAddress{};
      node.interfaces.push_back(std::move(fact));
    }
    if (!workload.cgroup.empty()) node.cgroup_ids[workload.cgroup] = cgroup++;
  }
  return node;
}

std::string rate_text(const CompiledLimit& limit) {
  if (limit.rate_bps == 0) return "unlimited";
  constexpr std::array<const char*, 4> units = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s"};
  std::uint64_t rate = limit.rate_bps;
  std::size_t unit = 0;
  while (unit + 1 < units.size() && rate >= 1000 && rate % 1000 == 0) {
    rate /= 1000;
    unit++;
  }
  return std::to_string(rate) + " " + units[unit];
}

using Row = std::vector<std::string>;

void print_table(const std::vector<Row>& rows, std::ostream& out) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows)
    for (std::size_t column = 0; column < row.size(); column++)
      widths[column] = std::max(widths[column], row[column].size());
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); column++) {
      line += row[column];
      if (column + 1 < row.size()) line += std::string(widths[column] - row[column].size() + 2, ' ');
    }
    out << line << '\n';
  }
  out << '\n';
}

void print_policy(const CompiledPolicy& policy, const DesiredState& desired, std::ostream& out) {
  std::vector<Row> grants = {
      {"GRANT", "GRANTOR", "GRANTEE", "PHASE", "EGRESS", "INGRESS", "DESTINATIONS", "VALID UNTIL"}};
  for (const CompiledGrant& grant : policy.grants)
    grants.push_back({grant.key, grant.grantor, grant.grantee, phase_name(grant.phase),
                      rate_text(grant.limit[GRANTD_EGRESS]), rate_text(grant.limit[GRANTD_INGRESS]),
                      std::to_string(grant.destinations), grant.valid_until ? time_text(*grant.valid_until) : "-"});
  for (const RefusedGrant& grant : policy.refused)
    grants.push_back({grant.key, "-", "-", "Refused", "-", "-", "-", "-"});
  if (grants.size() > 1) print_table(grants, out);
  std::vector<Row> realms = {{"REALM", "IDENTITY", "ADDRESSES"}};
  for (const Realm& realm : desired.realms) {
    std::string addresses;
    for (const RealmAddress& address : realm.addresses)
      addresses += (addresses.empty() ? "" : ", ") + address.prefix.text();
    realms.push_back({realm.name, realm.identity, addresses});
  }
  if (realms.size() > 1) print_table(realms, out);
  std::vector<Row> workloads = {{"WORKLOAD", "INTERFACE", "GRANT", "ADDRESSES"}};
  for (const CompiledEndpoint& endpoint : policy.endpoints) {
    std::string addresses;
    for (const IpAddress& address : endpoint.addresses) addresses += (addresses.empty() ? "" : ", ") + address.text();
    workloads.push_back({endpoint.guest, endpoint.host_network ? "(host network)" : endpoint.interface,
                         endpoint.grant.empty() ? "(quarantine)" : endpoint.grant, addresses});
  }
  if (workloads.size() > 1) print_table(workloads, out);
}

json problem_json(const Problem& problem) {
  return {{"severity", problem.shown() == Severity::Error ? "error" : "warning"},
          {"file", problem.position.file.text()},
          {"document", problem.position.document},
          {"line", problem.position.line},
          {"object", problem.object},
          {"field", problem.field},
          {"value", problem.value},
          {"message", problem.message},
          {"accepted", problem.accepted}};
}

json policy_json(const CompiledPolicy& policy, const DesiredState& desired) {
  json root = {{"grants", json::array()},
               {"refused", json::array()},
               {"realms", json::array()},
               {"workloads", json::array()},
               {"problems", json::array()}};
  for (const CompiledGrant& grant : policy.grants)
    root["grants"].push_back({{"grant", grant.key},
                              {"grantor", grant.grantor},
                              {"grantee", grant.grantee},
                              {"phase", phase_name(grant.phase)},
                              {"egressBitsPerSecond", grant.limit[GRANTD_EGRESS].rate_bps},
                              {"ingressBitsPerSecond", grant.limit[GRANTD_INGRESS].rate_bps},
                              {"addressRules", grant.rules.size()},
                              {"identityRules", grant.identity_rules.size()},
                              {"validUntil", grant.valid_until ? json(time_text(*grant.valid_until)) : json()}});
  for (const RefusedGrant& grant : policy.refused)
    root["refused"].push_back({{"grant", grant.key}, {"why", grant.why}});
  for (const Realm& realm : desired.realms) {
    json addresses = json::array();
    for (const RealmAddress& address : realm.addresses) addresses.push_back(address.prefix.text());
    root["realms"].push_back({{"realm", realm.name}, {"identity", realm.identity}, {"addresses", addresses}});
  }
  for (const CompiledEndpoint& endpoint : policy.endpoints) {
    json addresses = json::array();
    for (const IpAddress& address : endpoint.addresses) addresses.push_back(address.text());
    root["workloads"].push_back({{"workload", endpoint.guest},
                                 {"interface", endpoint.interface},
                                 {"grant", endpoint.grant},
                                 {"quarantine", endpoint.quarantine},
                                 {"addresses", addresses}});
  }
  for (const Problem& problem : policy.problems) root["problems"].push_back(problem_json(problem));
  return root;
}

// A manifest that works here and grants nothing on a cluster is a surprise.
void tell_of_other_namespaces(const DesiredState& desired, CompiledPolicy& policy) {
  const std::string home(kDefaultNamespace);
  for (const Grant& grant : desired.grants)
    if (grant.namespace_name != home)
      policy.problems.push_back({Severity::Warning, grant.position, "Grant " + grant.key(), "metadata.namespace",
                                 grant.namespace_name, "on a cluster no agent follows a Grant there", home});
}

}  // namespace

int check(const Settings& settings, std::ostream& out, std::ostream& err) {
  const DesiredState desired = load_manifests(settings.paths, settings.cluster_ranges());
  TimeFacts time;
  time.boot_now = boot_now();
  time.now = std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  CompiledPolicy policy = compile(desired, imagined_node(settings, desired), time, settings.limits);
  tell_of_other_namespaces(desired, policy);
  const auto errors = std::count_if(policy.problems.begin(), policy.problems.end(),
                                    [](const Problem& each) { return each.shown() == Severity::Error; });
  const auto warnings = static_cast<std::ptrdiff_t>(policy.problems.size()) - errors;
  if (settings.json_output) {
    out << policy_json(policy, desired).dump(2, ' ', false, json::error_handler_t::replace) << '\n';
  } else {
    print_policy(policy, desired, out);
    for (const Problem& problem : policy.problems)
      err << (problem.shown() == Severity::Error ? "error: " : "") << problem.text() << '\n';
    const auto held = std::count_if(policy.endpoints.begin(), policy.endpoints.end(),
                                    [](const CompiledEndpoint& each) { return !each.without_record; });
    out << counted_text(desired.realms.size(), "Realm") << ", " << counted_text(policy.grants.size(), "Grant") << ", "
        << counted_text(static_cast<std::size_t>(held), "Workload") << " accepted; "
        << counted_text(static_cast<std::size_t>(errors), "error") << ", "
        << counted_text(static_cast<std::size_t>(warnings), "warning") << '\n';
  }
  return errors == 0 ? 0 : 1;
}

}  // namespace grantd
