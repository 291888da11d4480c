#include "agent/cni/plugin.h"

#include "agent/attach/attacher.h"
#include "agent/attach/links.h"
#include "agent/attach/pin_lock.h"
#include "agent/attach/pin_root.h"
#include "agent/cni/compare.h"
#include "agent/cni/decide.h"
#include "agent/netlink/guest_link.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <optional>

namespace grantd {

namespace {

using nlohmann::json;
// What a command failed with; nothing where it did not.
using Failed = std::optional<CniFailure>;

std::string print(const json& value) { return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"; }

PluginOutcome outcome_of(const CniFailure& failure, const std::string& cni_version) {
  return {1, print({{"cniVersion", cni_version},
                    {"code", static_cast<int>(failure.code)},
                    {"msg", "grantd-cni: " + failure.message},
                    {"details", failure.details}})};
}

std::string pod_of(const CniRequest& request) {
  return "guest " + request.pod_namespace + "/" + request.pod_name + ", interface " + request.ifname;
}

Attacher attacher_of(const PluginSettings& settings) {
  return {settings.pin_root, settings.attach == "tcx"      ? AttachMode::Tcx
                             : settings.attach == "clsact" ? AttachMode::Clsact
                                                           : AttachMode::Auto};
}

// Both directions drop everything, ARP too, and go on to when this process is gone. Where the agent, or an earlier
// call, holds the interface already, that stays.
Result<void> close_interface(const PluginSettings& settings, std::uint32_t ifindex) {
  if (auto made = make_pin_root(settings.pin_root); !made) return made;
  Attacher attacher = attacher_of(settings);
  for (Hook hook : kGuestHooks) {
    const Attachment attachment{hook, ifindex, 0};
    auto held = attacher.is_held(attachment);
    if (!held) return held.error();
    if (held.value()) continue;
    auto guard = load_guard(hook);
    if (!guard) return guard.error();
    bpf_prog_info info{};
    __u32 length = sizeof(info);
    if (bpf_obj_get_info_by_fd(guard.value().get(), &info, &length) != 0)
      return system_error("cannot read the guard's id", errno);
    if (auto attached = attacher.attach(attachment, guard.value().get(), info.id); !attached) return attached;
  }
  return {};
}

CniRecord record_of(const CniRequest& request, const GuestLink& link, std::vector<IpAddress> addresses) {
  CniRecord record;
  record.container_id = request.container_id;
  record.ifname = request.ifname;
  record.network = request.network;
  record.netns = request.netns;
  record.pod_namespace = request.pod_namespace;
  record.pod_name = request.pod_name;
  record.pod_uid = request.pod_uid;
  record.host_interface = link.host_interface;
  record.ifindex = link.host_ifindex;
  record.guest_mac = link.guest_mac;
  record.addresses = std::move(addresses);
  return record;
}

// Asked before the record is read: it may have been an older agent's when there was one to vouch for it.
CniDecision decide(const CniRequest& request) {
  const auto held = is_pin_root_held(request.settings.pin_root);
  return decide(request.settings, {request.pod_namespace, request.pod_name, request.pod_uid},
                read_guest_namespaces(request.settings.state_dir), held && held.value());
}

Failed cannot_tell(const CniRequest& request, const CniDecision& decision) {
  return CniFailure{CniCode::TryAgainLater,
                    "namespace '" + request.pod_namespace + "': cannot tell whether it is a guest's", decision.why};
}

Failed add(const CniRequest& request) {
  const CniDecision decision = decide(request);
  if (decision.kind == CniDecision::Kind::Ordinary) return {};
  if (decision.kind == CniDecision::Kind::Unknown) return cannot_tell(request, decision);
  auto result = read_result(request);
  if (const auto* failure = std::get_if<CniFailure>(&result)) return *failure;
  auto link = read_guest_link(request.netns, request.ifname);
  if (!link) return CniFailure{CniCode::CannotClose, pod_of(request) + ": cannot be closed", link.error().message};
  if (auto closed = close_interface(request.settings, link.value().host_ifindex); !closed)
    return CniFailure{CniCode::CannotClose, pod_of(request) + ": cannot be closed", closed.error().message};
  auto written =
      write_cni_record(request.settings.record_dir,
                       record_of(request, link.value(), std::get<ResultInterface>(std::move(result)).addresses));
  if (written) return {};
  return CniFailure{CniCode::Io, pod_of(request) + ": cannot be recorded for the agent", written.error().message};
}

constexpr const char* kStartAnew = "; delete the pod: the one that takes its place is set up anew";

Failed check_held(const CniRequest& request, const GuestLink& link) {
  const auto not_held = [&](const std::string& why) {
    return CniFailure{CniCode::NotHeld, pod_of(request) + ": is not held",
                      why + "; an agent that runs holds it again; else delete the pod"};
  };
  const Attacher attacher = attacher_of(request.settings);
  for (Hook hook : kGuestHooks) {
    auto held = attacher.is_held({hook, link.host_ifindex, 0});
    if (!held) return not_held(held.error().message);
    if (!held.value())
      return not_held(std::string(hook_name(hook)) + " is not first on interface " + link.host_interface);
  }
  return {};
}

Failed check_record(const CniRequest& request, const GuestLink& link, const ResultInterface& result) {
  const auto failure = [&](CniCode code, const std::string& what, const std::string& why) {
    return CniFailure{code, pod_of(request) + ": " + what, why + kStartAnew};
  };
  auto recorded = read_cni_record(request.settings.record_dir, request.container_id, request.ifname);
  if (!recorded) return failure(CniCode::Io, "its record cannot be read", recorded.error().message);
  if (!recorded.value())
    return failure(CniCode::Differs, "has no record",
                   request.settings.record_dir + ": the agent finds none of container " + request.container_id);
  const std::string differs = differs_from_record(record_of(request, link, result.addresses), *recorded.value());
  if (!differs.empty()) return failure(CniCode::Differs, "its record is not of it", differs);
  return {};
}

// Of the result this plugin answers for the interface that it has closed: that it is there, with its addresses, and
// that its other side is held and recorded.
Failed check(const CniRequest& request) {
  const CniDecision decision = decide(request);
  if (decision.kind == CniDecision::Kind::Ordinary) return {};
  if (decision.kind == CniDecision::Kind::Unknown) return cannot_tell(request, decision);
  const auto read = read_result(request);
  if (const auto* failure = std::get_if<CniFailure>(&read)) return *failure;
  const auto& result = std::get<ResultInterface>(read);
  const auto is_not_as_told = [&](const std::string& why) {
    return CniFailure{CniCode::Differs, pod_of(request) + ": is not what prevResult says", why + kStartAnew};
  };
  auto link = read_guest_link(request.netns, request.ifname);
  if (!link) return is_not_as_told(link.error().message);
  auto addresses = read_guest_addresses(request.netns, link.value().guest_ifindex);
  if (!addresses) return is_not_as_told(addresses.error().message);
  const std::string differs = differs_from_result(result, link.value().guest_mac, addresses.value());
  if (!differs.empty()) return is_not_as_told(differs);
  if (const Failed failed = check_held(request, link.value())) return failed;
  return check_record(request, link.value(), result);
}

// The interface is there for as long as the plugins before this one have not removed it, and stays closed: a pin
// goes with its interface.
Failed remove(const CniRequest& request) {
  auto removed = remove_cni_record(request.settings.record_dir, request.container_id, request.ifname);
  if (removed) return {};
  return CniFailure{CniCode::Io, "container " + request.container_id, removed.error().message};
}

bool is_there(const CniRecord& record) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(record.ifindex, name) != nullptr && record.host_interface == name;
}

// What is not valid any more goes once its interface is gone: until then the record helps the agent to hold it.
Failed collect(const CniRequest& request) {
  std::string wrong;
  const auto note = [&](const std::string& message) { wrong += (wrong.empty() ? "" : "; ") + message; };
  auto records = read_cni_records(request.settings.record_dir);
  if (!records) return CniFailure{CniCode::Io, "cannot read the records", records.error().message};
  for (const CniRecord& each : records.value().records) {
    if (each.network != request.network || request.valid.contains({each.container_id, each.ifname}) || is_there(each))
      continue;
    if (auto removed = remove_cni_record(request.settings.record_dir, each.container_id, each.ifname); !removed)
      note(removed.error().message);
  }
  for (const Error& each : records.value().damaged) note(each.message);
  if (auto removed = attacher_of(request.settings).remove_defunct(); !removed) note(removed.error().message);
  if (wrong.empty()) return {};
  return CniFailure{CniCode::Io, "some of what is in use no more could not be removed", wrong};
}

Failed status(const CniRequest& request) {
  const auto not_available = [](const Error& error) {
    return CniFailure{CniCode::NotAvailable, "guests cannot be closed", error.message};
  };
  if (auto made = make_pin_root(request.settings.pin_root); !made) return not_available(made.error());
  for (Hook hook : kGuestHooks)
    if (auto guard = load_guard(hook); !guard) return not_available(guard.error());
  if (auto recorded = read_guest_namespaces(request.settings.state_dir); !recorded)
    return not_available(recorded.error());
  return {};
}

PluginOutcome version(const CniRequest& request) {
  return {0, print({{"cniVersion", request.cni_version}, {"supportedVersions", kCniVersions}})};
}

Failed perform(const CniRequest& request) {
  switch (request.command) {
    case CniCommand::Add:
      return add(request);
    case CniCommand::Check:
      return check(request);
    case CniCommand::Del:
      return remove(request);
    case CniCommand::Gc:
      return collect(request);
    case CniCommand::Status:
      return status(request);
    case CniCommand::Version:
      break;
  }
  return {};
}

}  // namespace

PluginOutcome run_plugin(const Environment& environment, std::string_view input) {
  const auto read = read_request(environment, input);
  if (const auto* failure = std::get_if<CniFailure>(&read)) return outcome_of(*failure, kNewestCniVersion);
  const auto& request = std::get<CniRequest>(read);
  if (request.command == CniCommand::Version) return version(request);
  if (const Failed failed = perform(request)) return outcome_of(*failed, request.cni_version);
  return {0, request.command == CniCommand::Add ? print(*request.previous) : ""};
}

}  // namespace grantd
