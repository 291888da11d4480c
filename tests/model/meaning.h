// What manifests mean, by looking at all of them for each question. Takes the objects as the project's own readers
// hand them over (DesiredState), and the node's facts; shares nothing with compile, plan or bpf/.
#pragma once

#include "agent/compile/node_facts.h"
#include "crd-sync/desired_state.h"
#include "tests/model/frame.h"

#include <map>
#include <string>

namespace grantd::model {

bool inside(const IpAddress& address, const IpPrefix& prefix);
bool inside(const IpPrefix& inner, const IpPrefix& outer);

// Who somebody is: "" nobody, "local" this node itself, the name of a realm, or NAMESPACE/NAME of a Grant for its
// guests. As in grantd_idname.
using Who = std::string;
inline constexpr const char* kLocalNode = "local";

class Meaning {
 public:
  Meaning() = default;
  // `notice_ends`: of each Grant that is revoked, by key.
  Meaning(const DesiredState& desired, const NodeFacts& node, std::map<std::string, WallTime> notice_ends);

  const Workload* guest_at(std::uint32_t ifindex) const;
  const Grant* grant(const std::string& key) const;
  const Grant* grant_of(const Workload& guest) const { return grant(guest.grant); }
  // Addresses of the host's side of the guest's link, and of the bridge it is a port of.
  std::vector<IpAddress> gateways(const Workload& guest) const;
  static bool owns(const Workload& guest, const IpAddress& address);
  static IpAddress link_local(const Workload& guest);

  // Whose address this is, for what a guest sends to it.
  Who owner(const IpAddress& address) const;
  // Who sends from this address, arriving at this interface.
  Who sender(const IpAddress& address, std::uint32_t ifindex) const;
  // Whether from_uplink stands there with a record of it.
  bool is_uplink(std::uint32_t ifindex) const { return rule_at(ifindex) != nullptr; }

  // Why a guest of this Grant may not begin this, where it may not. `port` is what the initiator sends to.
  MaybeReason may_send(const Grant& grant, const IpAddress& to, unsigned protocol, unsigned port) const;
  MaybeReason may_receive(const Grant& grant, const Who& from) const;
  // Why the Grant is not in force at this time, where it is not.
  MaybeReason out_of_time(const Grant& grant, WallTime now) const;

  const DesiredState& desired() const { return desired_; }
  const NodeFacts& node() const { return node_; }

 private:
  const Realm* realm_of(const IpAddress& address) const;
  bool is_node(const IpAddress& address) const;
  const UplinkRule* rule_at(std::uint32_t ifindex) const;

  DesiredState desired_;
  NodeFacts node_;
  std::map<std::string, WallTime> notice_ends_;
  std::vector<IpPrefix> protected_;  // ranges of the cluster, the node and the link
};

}  // namespace grantd::model
