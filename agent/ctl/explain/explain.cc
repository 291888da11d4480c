#include "agent/ctl/explain/explain.h"

#include "agent/attach/interface_name.h"
#include "agent/ctl/explain/frame.h"
#include "crd-sync/destination.h"
#include "maps/fixed_text.h"

#include <algorithm>
#include <set>

namespace grantd {
namespace {

constexpr std::uint32_t kLoopbackIndex = 1;  // as where a packet came in: through something, and no uplink
constexpr MacAddress kRouterMac{{0x02, 0, 0, 0, 0, 0x01}};

// A way into the node.
struct Way {
  std::string text;  // "by tailnet (tail0)"
  std::string interface;
  std::uint32_t ifindex = 0;  // of the uplink; 0: none
  std::uint32_t ingress = 0;  // 0: it originated here
};

Way way_by(const grantd_uplink& uplink) {
  const std::string name = interface_name(uplink.ifindex);
  return {std::string("by ") + uplink_class_name(uplink.uplink_class) + " (" + name + ")", name, uplink.ifindex,
          uplink.ifindex};
}

bool is_class(const std::string& name) {
  for (const std::uint32_t each :
       {GRANTD_UPLINK_TAILNET, GRANTD_UPLINK_LAN, GRANTD_UPLINK_OVERLAY, GRANTD_UPLINK_UNTRUSTED})
    if (name == uplink_class_name(each)) return true;
  return false;
}

// "lan (eth0), tailnet (tailscale0)"
std::string uplinks_text(const Snapshot& snapshot) {
  std::string text;
  for (const auto& [ifindex, uplink] : snapshot.uplinks)
    text += (text.empty() ? "" : ", ") + std::string(uplink_class_name(uplink.uplink_class)) + " (" +
            interface_name(ifindex) + ")";
  return text.empty() ? "none" : text;
}

Result<std::vector<Way>> ways_in(const Snapshot& snapshot, const Via& via) {
  if (via.local) return std::vector<Way>{{"from this node itself", "", 0, 0}};
  std::vector<Way> ways;
  std::set<std::uint32_t> classes;
  for (const auto& [ifindex, uplink] : snapshot.uplinks) {
    const bool named = via.uplink.empty() || via.uplink == uplink_class_name(uplink.uplink_class) ||
                       via.uplink == interface_name(ifindex);
    // One uplink speaks for its class: it is the class that is asked for an address.
    if (named && classes.insert(uplink.uplink_class).second) ways.push_back(way_by(uplink));
  }
  if (!ways.empty()) return ways;
  if (via.uplink.empty()) return std::vector<Way>{{"by an interface that is no uplink", "", 0, kLoopbackIndex}};
  return Error{
      "--via " + via.uplink + ": this node has no uplink of that class; its uplinks: " + uplinks_text(snapshot), 0};
}

// The field that refuses, where one does: what lets a Grant begin and end.
const char* deciding_field(std::uint32_t reason) {
  switch (reason) {
    case GRANTD_REASON_REVOKED:
      return "spec.revoked";
    case GRANTD_REASON_EXPIRED:
      return "spec.validity.validUntil";
    case GRANTD_REASON_NOT_YET_VALID:
      return "spec.validity.validFrom";
    default:
      return nullptr;
  }
}

class Explainer {
 public:
  Explainer(const ResolvedEnds& ends, const Snapshot& snapshot, const DatapathMaps& maps, DryRun& datapath)
      : ends_(ends), snapshot_(snapshot), maps_(maps), datapath_(datapath) {}

  Result<ExplainedPacket> from_guest(const Probe& probe) {
    ExplainedPacket packet = named(probe, "");
    DryPacket frame = frame_of(probe);
    frame.ifindex = frame.ingress_ifindex = ends_.source.endpoint->ifindex;
    auto verdict = datapath_.from_guest(frame);
    if (auto added = add(packet, "from_guest", ends_.source.guest, verdict); !added) return added.error();
    if (packet_passes(packet) && ends_.destination.endpoint) {
      frame.mark = verdict.value().mark;
      if (auto done = to_guest(packet, frame); !done) return done.error();
    }
    return packet;
  }

  Result<ExplainedPacket> from_address(const Probe& probe, const Way& way) {
    ExplainedPacket packet = named(probe, way.text);
    DryPacket frame = frame_of(probe);
    frame.ingress_ifindex = way.ingress;
    if (way.ifindex) {
      frame.ifindex = way.ifindex;
      auto verdict = datapath_.from_uplink(frame);
      if (auto added = add(packet, "from_uplink", way.interface, verdict); !added) return added.error();
      frame.mark = verdict.value().mark;
    }
    if (auto done = to_guest(packet, frame); !done) return done.error();
    return packet;
  }

 private:
  Result<void> to_guest(ExplainedPacket& packet, DryPacket& frame) {
    frame.ifindex = ends_.destination.endpoint->ifindex;
    return add(packet, "to_guest", ends_.destination.guest, datapath_.to_guest(frame));
  }

  DryPacket frame_of(const Probe& probe) const {
    const auto mac = [](const ResolvedEnd& end) {
      MacAddress own = kRouterMac;
      if (end.endpoint) std::copy(std::begin(end.endpoint->mac), std::end(end.endpoint->mac), own.bytes.begin());
      return own;
    };
    DryPacket packet;
    packet.frame = first_frame(
        {mac(ends_.source), mac(ends_.destination), ends_.source.address, ends_.destination.address}, probe);
    return packet;
  }

  ExplainedPacket named(const Probe& probe, const std::string& way) const {
    const auto who = [](const ResolvedEnd& end) {
      const std::string address = end.address.text();
      return end.guest.empty() ? address : end.guest + " (" + address + ")";
    };
    const std::string port = probe.port ? std::to_string(probe.port) + "/" : "";
    return {who(ends_.source), who(ends_.destination) + " " + port + protocol_name(probe.protocol), way, {}};
  }

  Result<void> add(ExplainedPacket& packet, const char* hook, const std::string& where,
                   const Result<DryVerdict>& verdict) const {
    if (!verdict) return verdict.error();
    ExplainedStep step{hook, where, verdict.value().explanation, std::nullopt};
    if (step.found.source) {
      auto source = maps_.source.find({step.found.rules_id, step.found.source, 0});
      if (!source) return source.error();
      step.source = source.value();
    }
    if (const char* field = deciding_field(step.found.reason)) {
      auto source = source_that_begins(step.found.policy_id, field);
      if (!source) return source.error();
      step.source = source.value();
    }
    packet.steps.push_back(std::move(step));
    return {};
  }

  // Of no range, hence found by its text.
  Result<std::optional<grantd_source>> source_that_begins(std::uint64_t policy_id, const std::string& field) const {
    const auto policy = snapshot_.policies.find(policy_id);
    if (policy == snapshot_.policies.end()) return std::optional<grantd_source>();
    for (std::uint16_t number = 1; number != 0; number++) {
      auto source = maps_.source.find({policy->second.rules_id, number, 0});
      if (!source) return source.error();
      if (!source.value() || text_of(source.value()->text).starts_with(field + ": ")) return source.value();
    }
    return std::optional<grantd_source>();
  }

  const ResolvedEnds& ends_;
  const Snapshot& snapshot_;
  const DatapathMaps& maps_;
  DryRun& datapath_;
};

}  // namespace

Result<void> check_usage(const ResolvedEnds& ends, const Via& via, const Snapshot& snapshot) {
  const std::string way = via.local ? "--local" : "--via " + via.uplink;
  if (ends.source.endpoint && ends.source.endpoint == ends.destination.endpoint)
    return Error{"SOURCE and DESTINATION are both guest " + ends.source.guest +
                     ": what it sends to itself is on no wire; accepted: two different ends",
                 0};
  if (!via.local && via.uplink.empty()) return {};
  if (ends.source.endpoint)
    return Error{way + ": SOURCE is " + ends.source.guest + ", a guest of this node, whose packets come by its own " +
                     "interface; accepted: with an address of somebody else as SOURCE",
                 0};
  const bool is_uplink = std::any_of(snapshot.uplinks.begin(), snapshot.uplinks.end(),
                                     [&](const auto& uplink) { return via.uplink == interface_name(uplink.first); });
  if (via.local || is_class(via.uplink) || is_uplink) return {};
  return Error{way + ": is neither a class of uplinks nor an uplink; accepted: tailnet, lan, overlay, untrusted, or " +
                   "an uplink of this node: " + uplinks_text(snapshot),
               0};
}

Result<std::vector<ExplainedPacket>> explain(const std::vector<Probe>& probes, const ResolvedEnds& ends, const Via& via,
                                             const Snapshot& snapshot, const DatapathMaps& maps, DryRun& datapath) {
  Explainer explainer(ends, snapshot, maps, datapath);
  std::vector<ExplainedPacket> packets;
  if (ends.source.endpoint) {
    for (const Probe& probe : probes) {
      auto packet = explainer.from_guest(probe);
      if (!packet) return packet.error();
      packets.push_back(std::move(packet).value());
    }
    return packets;
  }
  auto ways = ways_in(snapshot, via);
  if (!ways) return ways.error();
  for (const Probe& probe : probes)
    for (const Way& way : ways.value()) {
      auto packet = explainer.from_address(probe, way);
      if (!packet) return packet.error();
      packets.push_back(std::move(packet).value());
    }
  return packets;
}

}  // namespace grantd
