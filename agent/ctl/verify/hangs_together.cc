#include "agent/ctl/verify/hangs_together.h"

#include "agent/attach/attacher.h"
#include "agent/attach/cgroups.h"
#include "agent/attach/clsact.h"
#include "agent/attach/links.h"
#include "agent/gate/gate.h"
#include "agent/plan/encode.h"

#include <bpf/bpf.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <map>

namespace grantd {
namespace {

Result<std::uint32_t> pinned_program_id(const std::string& pin_root, Hook hook) {
  const std::string path = program_pin(pin_root, hook_name(hook));
  const Descriptor program(bpf_obj_get(path.c_str()));
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0)
    return system_error("cannot open " + path, errno);
  return info.id;
}

Result<bool> stands_first(Hook hook, std::uint32_t ifindex, std::uint32_t program_id) {
  auto programs = tcx_programs(hook, ifindex);
  if (!programs) return programs.error();
  if (!programs.value().empty()) return programs.value().front() == program_id;
  auto filters = filters_on(ifindex, hook == Hook::ToGuest);
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    if (filter.first && filter.program_id == program_id) return true;
  return false;
}

Result<void> verify_attachments(const std::string& pin_root, const Snapshot& snapshot,
                                std::vector<std::string>& wrong) {
  const auto look = [&](Hook hook, std::uint32_t ifindex, const std::string& whose) -> Result<void> {
    auto id = pinned_program_id(pin_root, hook);
    if (!id) return id.error();
    auto first = stands_first(hook, ifindex, id.value());
    if (!first) return first.error();
    if (!first.value()) wrong.push_back(whose + ": " + hook_name(hook) + " is not the first program on its interface");
    return {};
  };
  for (const auto& [ifindex, endpoint] : snapshot.endpoints)
    for (Hook hook : kGuestHooks)
      if (auto looked = look(hook, ifindex, "guest " + guest_name(snapshot, endpoint.endpoint_id)); !looked)
        return looked;
  for (const auto& [ifindex, uplink] : snapshot.uplinks)
    if (auto looked = look(Hook::FromUplink, ifindex, "uplink " + std::to_string(ifindex)); !looked) return looked;
  if (const std::uint32_t release = snapshot.shaper.release_ifindex)
    if (auto looked = look(Hook::FromQueue, release, "queues"); !looked) return looked;
  return {};
}

Result<void> verify_cgroup(const std::string& pin_root, const grantd_endpoint& endpoint, const Descriptor& cgroup,
                           const std::string& whose, std::vector<std::string>& wrong) {
  std::vector<Hook> hooks(std::begin(kConnectHooks), std::end(kConnectHooks));
  if (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK)
    hooks.insert(hooks.end(), std::begin(kSocketHooks), std::end(kSocketHooks));
  for (Hook hook : hooks) {
    auto id = pinned_program_id(pin_root, hook);
    if (!id) return id.error();
    auto programs = cgroup_programs(hook, cgroup);
    if (!programs) return programs.error();
    if (std::ranges::find(programs.value(), id.value()) == programs.value().end())
      wrong.push_back(whose + ": " + hook_name(hook) + " is not on its cgroup");
  }
  return {};
}

// All in one walk. A cgroup that is gone holds nobody.
Result<void> verify_cgroups(const std::string& pin_root, const Snapshot& snapshot, std::vector<std::string>& wrong) {
  if (snapshot.host_guests.empty()) return {};
  Result<void> done;
  std::map<std::uint64_t, std::vector<std::string>> found;  // the walk has an order of its own
  each_cgroup([&](std::uint64_t id, const Descriptor& cgroup) {
    const auto guest = snapshot.host_guests.find(id);
    if (guest == snapshot.host_guests.end()) return true;
    done = verify_cgroup(pin_root, guest->second, cgroup, "guest " + guest_name(snapshot, guest->second.endpoint_id),
                         found[id]);
    return done.ok();
  });
  for (const auto& [id, lines] : found) wrong.insert(wrong.end(), lines.begin(), lines.end());
  return done;
}

void verify_gate(const std::string& pin_root, const Snapshot& snapshot, std::vector<std::string>& wrong) {
  if (snapshot.endpoints.empty()) return;  // it is made with the first guest
  const auto behind = Gate(pin_root, snapshot.node.stamp_mask).standing();
  if (!behind || !behind.value()) {
    wrong.push_back(behind ? "gate: its nftables are not there, or changed"
                           : "gate: cannot be read: " + behind.error().message);
    return;
  }
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) {
    std::array<char, IFNAMSIZ> name{};
    const std::string guest = "guest " + guest_name(snapshot, endpoint.endpoint_id) + ": ";
    for (const IpAddress& address : used_addresses(endpoint))
      if (endpoint.slot != 0 && !behind.value()->addresses.contains(address))
        wrong.push_back(guest + address.text() + " is not in the gate");
    if (!if_indextoname(ifindex, name.data()) || behind.value()->guests.contains({ifindex, name.data()})) continue;
    wrong.push_back(guest + name.data() + " is not in the gate");
  }
}

void verify_records(const Snapshot& snapshot, std::vector<std::string>& wrong) {
  for (const auto& [slot, policy_id] : snapshot.published) {
    const std::string grant = "Grant " + grant_name(snapshot, slot);
    const auto policy = snapshot.policies.find(policy_id);
    if (policy == snapshot.policies.end())
      wrong.push_back(grant + ": its policy " + std::to_string(policy_id) + " is not there");
    else if (policy->second.slot != slot)
      wrong.push_back(grant + ": its policy is another slot's");
    if (!snapshot.slot_names.contains(slot)) wrong.push_back(grant + ": the slot has no name");
  }
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) {
    const std::string guest = "guest " + guest_name(snapshot, endpoint.endpoint_id);
    if (endpoint.version != endpoint.version_again) wrong.push_back(guest + ": its record is half written");
    if (endpoint.ifindex != ifindex) wrong.push_back(guest + ": its record is another interface's");
    if (!snapshot.guests.contains(endpoint.endpoint_id)) wrong.push_back(guest + ": the endpoint has no name");
  }
}

Result<void> verify_tables(const DatapathMaps& maps, const Snapshot& snapshot, std::vector<std::string>& wrong) {
  std::set<std::uint32_t> slots = {0};
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) slots.insert(endpoint.slot);
  for (const auto& [cgroup_id, endpoint] : snapshot.host_guests) slots.insert(endpoint.slot);
  for (std::uint32_t slot : slots)
    for (const auto* outer : {&maps.counter, &maps.flow, &maps.frag}) {
      if (slot == 0 && outer != &maps.counter) continue;
      auto table = outer->find(slot);
      if (!table) return table.error();
      const std::string of_grant = "Grant " + grant_name(snapshot, slot);
      const std::string& name = outer->raw().name();
      if (!table.value()) {
        wrong.push_back(of_grant + ": no table in " + name);
        continue;
      }
      auto pinned = maps.pinned_table(*outer, slot);
      if (!pinned) return pinned.error();
      if (pinned.value() && *pinned.value() != *table.value())
        wrong.push_back(of_grant + ": its table in " + name + " is not the one that is pinned as its own");
    }
  return {};
}

}  // namespace

Result<std::vector<std::string>> hangs_together(const std::string& pin_root, const DatapathMaps& maps,
                                                const Snapshot& snapshot) {
  std::vector<std::string> wrong;
  verify_records(snapshot, wrong);
  if (auto done = verify_tables(maps, snapshot, wrong); !done) return done.error();
  if (auto done = verify_attachments(pin_root, snapshot, wrong); !done) return done.error();
  if (auto done = verify_cgroups(pin_root, snapshot, wrong); !done) return done.error();
  verify_gate(pin_root, snapshot, wrong);
  return wrong;
}

}  // namespace grantd
