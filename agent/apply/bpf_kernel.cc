#include "agent/apply/bpf_kernel.h"

#include "agent/attach/interface_mark.h"
#include "agent/attach/interface_switch.h"
#include "agent/attach/links.h"
#include "agent/plan/encode.h"

#include <cerrno>
#include <optional>

namespace grantd {

namespace {

using namespace operation;

struct Performer {
  Datapath& datapath;
  Attacher& attacher;
  Shaper& shaper;
  const DatapathMaps& maps = datapath.maps();

  Result<void> operator()(const PutNode& o) { return maps.node.put(0, o.node); }
  Result<void> operator()(const Attach&) { return {}; }  // see BpfKernel::attach
  Result<void> operator()(const Detach& o) { return attacher.detach(o.attachment); }
  Result<void> operator()(const MakeTables& o) { return datapath.make_tables(o.slots, o.flows); }
  Result<void> operator()(const RemoveTables& o) { return datapath.remove_tables(o.slots); }

  Result<void> operator()(const PutRules& o) {
    std::vector<grantd_rule_key> keys;
    std::vector<grantd_ranges> values;
    keys.reserve(o.rules.size());
    values.reserve(o.rules.size());
    for (const auto& [key, ranges] : o.rules) {
      keys.push_back(key);
      values.push_back(ranges);
    }
    std::vector<grantd_idrule_key> identity_keys;
    std::vector<grantd_ranges> identity_values;
    for (const auto& [key, ranges] : o.identity_rules) {
      identity_keys.push_back(key);
      identity_values.push_back(ranges);
    }
    auto done = maps.rule.put_all(keys, values);
    if (done) done = maps.idrule.put_all(identity_keys, identity_values);
    if (done) return done;
    // Nobody reads these yet; what was put would only take room.
    for (const grantd_rule_key& key : keys) (void)maps.rule.erase(key).ok();
    for (const auto& [key, ranges] : o.identity_rules) (void)maps.idrule.erase(key).ok();
    return done;
  }

  Result<void> operator()(const PutSources& o) {
    std::vector<grantd_source_key> keys;
    std::vector<grantd_source> values;
    keys.reserve(o.sources.size());
    values.reserve(o.sources.size());
    for (const CompiledSource& source : o.sources) {
      keys.push_back(source_key(o.rules_id, keys.size() + 1));
      values.push_back(encode_source(source));
    }
    return maps.source.put_all(keys, values);
  }
  // The new ones first: where they have no room, the old ones are as they were.
  Result<void> operator()(const RenumberRules& o) {
    std::vector<grantd_idrule_key> keys, gone;
    std::vector<grantd_ranges> values;
    for (const auto& [key, ranges] : renumbered(o)) {
      keys.push_back(key);
      values.push_back(ranges);
    }
    for (const auto& [key, ranges] : o.found) gone.push_back(key);
    if (auto put = maps.idrule.put_all(keys, values); !put) return put;
    return erase_all(maps.idrule, gone);
  }
  Result<void> operator()(const CopyRules&) { return {}; }  // apply makes a PutRules of it
  Result<void> operator()(const CopySources& o) {
    for (const std::uint16_t number : o.sources) {
      auto found = maps.source.find(source_key(o.from, number));
      if (!found) return found.error();
      if (!found.value()) continue;
      if (auto put = maps.source.put(source_key(o.rules_id, number), *found.value()); !put) return put;
    }
    return {};
  }
  Result<void> operator()(const RemoveRules& o) {
    if (auto done = erase_all(maps.rule, o.rules); !done) return done;
    if (auto done = erase_all(maps.idrule, o.identity_rules); !done) return done;
    for (std::uint16_t number : o.sources)
      if (auto done = maps.source.erase(source_key(o.rules_id, number)); !done) return done;
    return {};
  }
  Result<void> operator()(const PutPolicy& o) { return maps.policy.put(o.policy_id, o.policy); }
  Result<void> operator()(const RemovePolicy& o) { return maps.policy.erase(o.policy_id); }
  Result<void> operator()(const Publish& o) {
    datapath.publish(o.slot, o.policy_id);
    (void)datapath.settle().ok();  // it is in force; whoever has this done asks settle() again, and says why
    return {};
  }
  Result<void> operator()(const PutEndpoint& o) { return maps.endpoint.put(o.endpoint->ifindex, o.endpoint); }
  Result<void> operator()(const RemoveEndpoint& o) { return maps.endpoint.erase(o.ifindex); }
  Result<void> operator()(const PutHostGuest& o) { return maps.hostguest.put(o.cgroup_id, o.endpoint); }
  Result<void> operator()(const RemoveHostGuest& o) { return maps.hostguest.erase(o.cgroup_id); }
  Result<void> operator()(const PutPrefixes& o) {
    std::vector<grantd_identity_key> keys;
    std::vector<grantd_identity> values;
    keys.reserve(o.prefixes.size());
    values.reserve(o.prefixes.size());
    for (const auto& [key, identity] : o.prefixes) {
      keys.push_back(encode_prefix_key(key));
      values.push_back({identity});
    }
    return maps.identity.put_all(keys, values);
  }
  Result<void> operator()(const RemovePrefixes& o) {
    for (const PrefixKey& key : o.prefixes)
      if (auto done = maps.identity.erase(encode_prefix_key(key)); !done) return done;
    return {};
  }
  Result<void> operator()(const PutUplink& o) { return maps.uplink.put(o.uplink.ifindex, o.uplink); }
  Result<void> operator()(const RemoveUplink& o) { return maps.uplink.erase(o.ifindex); }
  Result<void> operator()(const PutSlotName& o) { return maps.slotname.put(o.slot, o.name); }
  Result<void> operator()(const RemoveSlotName& o) { return maps.slotname.erase(o.slot); }
  Result<void> operator()(const PutIdentityName& o) {
    return maps.idname.put(o.identity, encode_identity_name(o.name));
  }
  Result<void> operator()(const RemoveIdentityName& o) { return maps.idname.erase(o.identity); }
  Result<void> operator()(const PutGuest& o) { return maps.guest.put(o.endpoint_id, o.guest); }
  // What it used goes with its name, without which nobody is shown it: it would take the place of another guest's.
  Result<void> operator()(const RemoveGuest& o) {
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS})
      if (auto done = maps.usage.erase({o.endpoint_id, direction}); !done) return done;
    return maps.guest.erase(o.endpoint_id);
  }
  Result<void> operator()(const PutBounds& o) {
    const Bounds& bounds = o.bounds;
    for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++)
      if (auto done = maps.bound.put(kind, bounds[kind]); !done) return done;
    return {};
  }

  Result<void> operator()(const MakeQueues&) { return shaper.make(); }
  Result<void> operator()(const RemoveQueues&) { return shaper.remove(); }
  Result<void> operator()(const PutShaper& o) { return maps.shaper.put(0, o.shaper); }
  Result<void> operator()(const PutClass& o) { return shaper.put_class(o.minor, o.wanted); }
  Result<void> operator()(const RemoveClass& o) { return shaper.remove_class(o.minor); }
  Result<void> operator()(const PutQueue& o) { return maps.queue.put(o.endpoint_id, o.queue); }
  Result<void> operator()(const RemoveQueue& o) { return maps.queue.erase(o.endpoint_id); }
  // Looked at afterwards: an interface that came to this index meanwhile has no program on it.
  Result<void> operator()(const PutDevice& o) {
    if (auto put = maps.device.put(o.ifindex, o.ifindex); !put) return put;
    for (const Hook hook : kGuestHooks) {
      auto held = attacher.is_held({hook, o.ifindex, 0});
      if (held && held.value()) continue;
      Error error = held ? Error{std::string(hook_name(hook)) + " does not stand on it", 0} : held.error();
      if (auto erased = maps.device.erase(o.ifindex); !erased) error.message += "; " + erased.error().message;
      return Error{"interface " + std::to_string(o.ifindex) + ": " + error.message, error.error_number};
    }
    return {};
  }
  Result<void> operator()(const RemoveDevice& o) { return maps.device.erase(o.ifindex); }

  static grantd_source_key source_key(std::uint32_t rules_id, std::size_t number) {
    return {rules_id, static_cast<std::uint16_t>(number), 0};
  }

  template <typename Map, typename Keys>
  static Result<void> erase_all(const Map& map, const Keys& keys) {
    for (const auto& key : keys)
      if (auto done = map.erase(key); !done) return done;
    return {};
  }
};

}  // namespace

Result<void> BpfKernel::attach(const Attachment& attachment) {
  const LoadedProgram& program = datapath_.programs().at(attachment.hook);
  auto attached = attacher_.attach(attachment, program.fd, program.id);
  if (!is_guest_hook(attachment.hook)) return attached;
  if (!attached) {
    Error error = attached.error();
    close_guest(attachment.ifindex, error);
    return error;
  }
  // Both sides: from_guest is attached first.
  if (attachment.hook == Hook::ToGuest) open_.erase(attachment.ifindex);
  if (!closed_.contains(attachment.ifindex)) return {};
  for (const Hook hook : kGuestHooks)  // either may have stood there before
    if (auto held = attacher_.is_held({hook, attachment.ifindex, 0}); !held || !held.value()) return {};
  return open_guest(attachment.ifindex);
}

// Down whether or not it can be marked. One that was down already bears no mark; whoever sets it up, the kernel tells
// us, and this is tried again.
void BpfKernel::close_guest(std::uint32_t ifindex, Error& why) {
  auto marked = mark_interface(attacher_.pin_root(), ifindex);
  if (auto closed = switch_interface(ifindex, false); !closed) {
    why.message += "; THE GUEST IS OPEN: " + closed.error().message;
    open_.insert(ifindex);
    return;
  }
  open_.erase(ifindex);
  const bool was_down = marked && !marked.value();
  why.message += was_down ? "; the interface is down already, and is set down again where somebody sets it up before"
                            " it can be attached"
                          : "; the interface is set down until it can be attached";
  if (!marked) why.message += ", which an agent after this one will not know: " + marked.error().message;
  if (!marked || marked.value()) closed_.insert(ifindex);
}

Result<void> BpfKernel::open_guest(std::uint32_t ifindex) {
  if (auto opened = switch_interface(ifindex, true); !opened) return opened;
  closed_.erase(ifindex);
  return unmark_interface(attacher_.pin_root(), ifindex);
}

Result<void> BpfKernel::leave() {
  auto [unpinned, error] = attacher_.pin_all();
  for (const Attachment& each : unpinned) {
    error = Error{link_name(each) + " has no pin and ends with this process", 0};
    if (is_guest_hook(each.hook)) close_guest(each.ifindex, *error);
  }
  return error ? Result<void>(*error) : Result<void>();
}

Result<void> BpfKernel::open_attached(const std::set<Attachment>& attachments) {
  if (!knows_marked_) {
    auto marked = marked_interfaces(attacher_.pin_root());
    if (!marked) return marked.error();
    closed_.insert(marked.value().begin(), marked.value().end());
    knows_marked_ = true;
  }
  const auto is_held = [&](std::uint32_t ifindex) {
    return attachments.contains({Hook::FromGuest, ifindex, 0}) && attachments.contains({Hook::ToGuest, ifindex, 0});
  };
  std::erase_if(open_, is_held);
  const std::set<std::uint32_t> closed = closed_;
  for (const std::uint32_t ifindex : closed)
    if (is_held(ifindex))
      // What it stands upon is down: it stays closed by that, and is asked again.
      if (auto opened = open_guest(ifindex); !opened && opened.error().error_number != ENETDOWN) return opened;
  return {};
}

Result<void> BpfKernel::perform(const Operation& operation) {
  if (const auto* attach_one = std::get_if<operation::Attach>(&operation)) return attach(attach_one->attachment);
  return std::visit(Performer{datapath_, attacher_, shaper_}, operation);
}

}  // namespace grantd
