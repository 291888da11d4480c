#include "tests/model/world_node.h"

#include "agent/plan/encode.h"
#include "agent/snapshot/read_snapshot.h"
#include "agent/snapshot/snapshot.h"
#include "maps/fixed_text.h"
#include "tests/model/world.h"
#include "tests/prog/seal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace grantd::model {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

// Small, because the agent reads all of it at each change. A flow table never evicts by itself in one world; what is
// forgotten, the test forgets.
Limits small() {
  Limits limits;
  limits.grants = 256;
  limits.endpoints = 64;
  limits.rules = 32768;  // those of policies that are gone stay for a second, in which there are many worlds
  limits.prefixes = 1024;
  limits.identities = 256;
  limits.flows_per_grant = 8192;
  return limits;
}

std::vector<IpAddress> addresses(const char* const* texts, std::size_t count) {
  std::vector<IpAddress> all;
  for (std::size_t at = 0; at < count; at++) all.push_back(must(IpAddress::parse(texts[at])));
  return all;
}

std::vector<IpPrefix> prefixes(const char* const* texts, std::size_t count) {
  std::vector<IpPrefix> all;
  for (std::size_t at = 0; at < count; at++) all.push_back(must(IpPrefix::parse(texts[at])));
  return all;
}

DesiredState guests_only() {
  DesiredState desired;
  for (const char* name : kGuests) {
    Workload guest;
    guest.name = name;
    guest.interface = std::string("veth-") + name;
    guest.grant = "ns/none";
    guest.mac = must(MacAddress::parse(guest_mac(name)));
    desired.workloads.push_back(guest);
  }
  return desired;
}

}  // namespace

std::chrono::milliseconds with_patience(std::chrono::milliseconds time) {
  const char* const patience = std::getenv("GRANTD_TEST_PATIENCE");
  return patience ? time * std::stoi(patience) : time;
}

WallTime wall_at(BootNanoseconds boot) { return WallTime(std::chrono::nanoseconds(read_clock().wall_of(boot))); }

WorldNode::WorldNode() {
  node_ = std::make_unique<PrivateNode>(guests_only(), small(), std::vector<std::string>{"over0"});
  NodeFacts& facts = node_->facts();
  facts.pod_cidrs = prefixes(kPodRanges, std::size(kPodRanges));
  facts.service_cidrs = prefixes(kServiceRanges, std::size(kServiceRanges));
  facts.local_routes = prefixes(kLocalRoutes, std::size(kLocalRoutes));
  facts.uplink_rules.push_back({"over0", UplinkClass::Overlay});
  facts.interfaces[0].addresses = addresses(kNodeAddresses, std::size(kNodeAddresses));
  for (InterfaceFact& each : facts.interfaces)
    each.link_local = addresses(kGatewayAddresses, std::size(kGatewayAddresses));
  // The host's side of a guest's link may have addresses of its own.
  for (InterfaceFact& each : facts.interfaces)
    if (each.name == "veth-a") each.addresses = {must(IpAddress::parse(kGuestsGateway))};
  for (const InterfaceFact& each : facts.interfaces) interfaces_[each.name] = each.ifindex;
  node_->apply();
  stamps_ = must(stamp_settings(GRANTD_STAMP_MASK_DEFAULT));
  dry_run_ = must(DryRun::load(node_->pin_root(), stamps_));
}

void WorldNode::apply(const DesiredState& desired) {
  node_->desired() = desired;
  node_->apply(false);
  if (!node_->compiled().refused.empty()) throw std::runtime_error(node_->compiled().refused.front().why);
  look();
}

void WorldNode::restart() {
  node_->restart(small());  // the maps are pinned, so the dry run goes on reading the right ones
  look();
}

void WorldNode::count_numbers_to(std::uint32_t number) {
  if (!node_->maps().idname.put(number, encode_identity_name({IdentityName::Kind::WasRealm, "gone"})))
    throw std::runtime_error("a number cannot be given a name");
  node_->apply();
  look();
}

void WorldNode::look() {
  slots_.clear();
  identities_.clear();
  for (const auto& [slot, name] : must(node_->maps().slotname.entries())) slots_[text_of(name.grant)] = slot;
  const auto names = must(node_->maps().idname.entries());
  numbers_taken_ = names.size();
  for (const auto& [identity, name] : names) identities_[text_of(name.name)] = identity;
}

Who who_of(const std::string& symbol, const std::string& suffix) {
  if (symbol.rfind("realm:", 0) == 0) return symbol.substr(6);
  if (symbol.rfind("grant:", 0) == 0) return "ns/" + symbol.substr(6) + suffix;
  return symbol;
}

std::string symbol_of(const Who& who, const std::string& suffix) {
  const std::size_t slash = who.find('/');
  if (who.empty() || who == kLocalNode) return who;
  if (slash == std::string::npos) return "realm:" + who;
  return "grant:" + who.substr(slash + 1, who.size() - slash - 1 - suffix.size());
}

void WorldNode::age(BootNanoseconds by) {
  const SealNumbers numbers = seal_numbers(must(node_->maps().seal.find(0)).value().secret);
  for (const auto& [key, slot] : slots_) {
    if (const auto flows = must(node_->maps().flow_table(slot)))
      for (auto [flow_key, flow] : must(flows->entries())) {
        flow.last_seen_ns -= by;
        if (!flows->put(flow_key, flow)) throw std::runtime_error("a flow cannot be made older");
      }
    if (const auto fragments = must(node_->maps().fragment_table(slot)))
      for (auto [fragment_key, fragment] : must(fragments->entries())) {
        fragment.first_seen_ns -= by;
        fragment.seal = prog::seal_of(numbers, fragment_key, fragment);
        if (!fragments->put(fragment_key, fragment)) throw std::runtime_error("a fragment cannot be made older");
      }
  }
}

bool WorldNode::forget(const grantd_flow_key& key) {
  bool gone = false;
  for (const auto& [grant, slot] : slots_) {
    const auto flows = must(node_->maps().flow_table(slot));
    if (!flows) continue;
    for (grantd_flow_key each : must(flows->keys())) {
      const std::uint32_t endpoint_id = each.endpoint_id;
      if (key.endpoint_id == 0) each.endpoint_id = 0;
      if (std::memcmp(&each, &key, sizeof(key)) != 0) continue;
      each.endpoint_id = endpoint_id;
      gone = static_cast<bool>(flows->erase(each)) || gone;
    }
  }
  return gone;
}

std::vector<grantd_counter> WorldNode::counters(std::uint32_t slot) const {
  auto all = must(node_->maps().counters(slot));
  all.resize(GRANTD_COUNTERS);
  return all;
}

Who WorldNode::named(std::uint32_t mark) const {
  for (const auto& [who, identity] : identities_)
    if (stamp(who) == (mark & stamps_.mask)) return who;
  return "";
}

std::uint32_t WorldNode::stamp(const Who& who) const {
  const auto found = identities_.find(who);
  return found == identities_.end() ? 0 : stamp_of(stamps_, found->second);
}

std::optional<Judged> WorldNode::send(const Arrival& arrival, std::uint32_t mark) {
  static constexpr Hook hooks[] = {Hook::FromGuest, Hook::ToGuest, Hook::FromUplink};
  const std::uint32_t came_by = arrival.neighbour_ifindex != 0 ? arrival.neighbour_ifindex
                                : arrival.from_outside         ? interfaces_.at("uplink0")
                                                               : 0;
  Judged judged;
  if (arrival.program != Program::FromUplink) {
    const DryPacket packet{arrival.frame, arrival.ifindex, came_by, mark, arrival.gso_bytes, arrival.gso_segments};
    const auto why = arrival.program == Program::FromGuest ? dry_run_->from_guest(packet) : dry_run_->to_guest(packet);
    if (!why && why.error().error_number == EINVAL) return {};
    judged.reason = static_cast<Reason>(must(why).explanation.reason);
  }
  __sk_buff in{}, out{};
  in.ifindex = arrival.ifindex;
  in.ingress_ifindex = came_by;
  in.mark = mark;
  in.gso_size = arrival.gso_bytes;
  in.gso_segs = arrival.gso_segments;
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = arrival.frame.data();
  options.data_size_in = static_cast<__u32>(arrival.frame.size());
  options.ctx_in = &in;
  options.ctx_size_in = sizeof(in);
  options.ctx_out = &out;
  options.ctx_size_out = sizeof(out);
  options.repeat = 1;
  const int error =
      bpf_prog_test_run_opts(node_->datapath().programs().at(hooks[static_cast<int>(arrival.program)]).fd, &options);
  if (error == -EINVAL) return {};
  if (error != 0) throw std::runtime_error(std::string("test run: ") + std::strerror(-error));
  judged.mark = out.mark;
  judged.passes = static_cast<int>(options.retval) == TC_ACT_UNSPEC;
  if (!judged.passes && static_cast<int>(options.retval) != TC_ACT_SHOT)
    throw std::runtime_error("verdict " + std::to_string(options.retval));
  return judged;
}

}  // namespace grantd::model
