#include "maps/kernel/datapath_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>

namespace grantd {

const std::vector<std::string>& map_names() {
  static const std::vector<std::string> names = {
      "grantd_grant",    "grantd_policy", "grantd_endpoint", "grantd_hostguest", "grantd_identity", "grantd_rule",
      "grantd_idrule",   "grantd_uplink", "grantd_shaper",   "grantd_queue",     "grantd_device",   "grantd_seal",
      "grantd_slotname", "grantd_idname", "grantd_guest",    "grantd_source",    "grantd_node",     "grantd_bound",
      "grantd_flow",     "grantd_frag",   "grantd_counter",  "grantd_bucket",    "grantd_credit",   "grantd_clock",
      "grantd_usage",    "grantd_delay",  "grantd_event"};
  return names;
}

std::string map_pin(const std::string& pin_root, const std::string& map_name) {
  // Of the layout, of each map by itself.
  const bool second = map_name == "grantd_guest" || map_name == "grantd_bucket";
  return pin_root + "/maps/" + map_name + (second ? "_v2" : "_v1");
}

std::string table_pin(const std::string& pin_root, const std::string& map_name, std::uint32_t slot) {
  return pin_root + "/maps/tables/" + map_name + "_" + std::to_string(slot);
}

std::string program_pin(const std::string& pin_root, const std::string& program_name) {
  return pin_root + "/programs/" + program_name;
}

namespace {

using Opener = std::function<Result<Descriptor>(const std::string&)>;

template <typename Map>
Result<void> open_one(const Opener& opener, const std::string& name, Map& map) {
  auto descriptor = opener(name);
  if (!descriptor) return descriptor.error();
  auto opened = Map::adopt(std::move(descriptor).value(), name);
  if (!opened) return opened.error();
  map = std::move(opened).value();
  return {};
}

Result<bpf_map_info> map_info(const Descriptor& map) {
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map.get(), &info, &length) != 0) return system_error("cannot read its description", errno);
  return info;
}

std::string table_name(const TypedMap<__u32, __u32>& outer, std::uint32_t slot) {
  return outer.raw().name() + "[" + std::to_string(slot) + "]";
}

Descriptor open_pinned_table(const std::string& pin_root, const TypedMap<__u32, __u32>& outer, std::uint32_t slot) {
  return Descriptor(bpf_obj_get(table_pin(pin_root, outer.raw().name(), slot).c_str()));
}

// Nothing where none can be opened.
Result<std::optional<bpf_map_info>> pinned_info(const std::string& pin_root, const TypedMap<__u32, __u32>& outer,
                                                std::uint32_t slot) {
  const Descriptor pinned = open_pinned_table(pin_root, outer, slot);
  if (!pinned.valid()) return std::optional<bpf_map_info>();
  auto info = map_info(pinned);
  if (!info) return Error{"map " + table_name(outer, slot) + ": " + info.error().message, info.error().error_number};
  return std::optional<bpf_map_info>(info.value());
}

// Nothing where there is no such map any more.
Result<std::optional<Descriptor>> open_table_by_id(const std::string& pin_root, const TypedMap<__u32, __u32>& outer,
                                                   std::uint32_t slot, std::uint32_t id) {
  Descriptor descriptor(bpf_map_get_fd_by_id(id));
  if (descriptor.valid()) return std::optional<Descriptor>(std::move(descriptor));
  if (errno == ENOENT) return std::optional<Descriptor>();  // replaced since
  return system_error("map " + table_name(outer, slot) + ": is not pinned at " +
                          table_pin(pin_root, outer.raw().name(), slot) + ", and cannot be opened by its id",
                      errno);
}

// The table that stands in an array of maps at `slot`; nothing where none does. Its pin is believed: the agent compares
// it with the array again and again, and makes the table anew where they differ (table_size). Before Linux 6.8 to ask
// the array waits for a grace period.
Result<std::optional<Descriptor>> open_table(const std::string& pin_root, const TypedMap<__u32, __u32>& outer,
                                             std::uint32_t slot) {
  if (Descriptor pinned = open_pinned_table(pin_root, outer, slot); pinned.valid())
    return std::optional<Descriptor>(std::move(pinned));
  auto id = outer.find(slot);
  if (!id) return id.error();
  if (!id.value()) return std::optional<Descriptor>();
  return open_table_by_id(pin_root, outer, slot, *id.value());
}

template <typename Table>
Result<std::optional<Table>> inner(const std::string& pin_root, const TypedMap<__u32, __u32>& outer,
                                   std::uint32_t slot) {
  auto descriptor = open_table(pin_root, outer, slot);
  if (!descriptor) return descriptor.error();
  if (!descriptor.value()) return std::optional<Table>();
  auto table = Table::adopt(*std::move(descriptor).value(), table_name(outer, slot));
  if (!table) return table.error();
  return std::optional<Table>(std::move(table).value());
}

Result<int> cpu_count() {
  const int count = libbpf_num_possible_cpus();
  if (count < 1) return system_error("cannot count the CPUs", -count);
  return count;
}

}  // namespace

Result<DatapathMaps> DatapathMaps::open(const std::string& pin_root, const Opener& opener) {
  DatapathMaps maps;
  maps.pin_root = pin_root;
  Result<void> steps[] = {
      open_one(opener, "grantd_grant", maps.grant),       open_one(opener, "grantd_policy", maps.policy),
      open_one(opener, "grantd_endpoint", maps.endpoint), open_one(opener, "grantd_hostguest", maps.hostguest),
      open_one(opener, "grantd_identity", maps.identity), open_one(opener, "grantd_rule", maps.rule),
      open_one(opener, "grantd_idrule", maps.idrule),     open_one(opener, "grantd_uplink", maps.uplink),
      open_one(opener, "grantd_slotname", maps.slotname), open_one(opener, "grantd_idname", maps.idname),
      open_one(opener, "grantd_guest", maps.guest),       open_one(opener, "grantd_source", maps.source),
      open_one(opener, "grantd_node", maps.node),         open_one(opener, "grantd_flow", maps.flow),
      open_one(opener, "grantd_frag", maps.frag),         open_one(opener, "grantd_counter", maps.counter),
      open_one(opener, "grantd_bucket", maps.bucket),     open_one(opener, "grantd_credit", maps.credit),
      open_one(opener, "grantd_clock", maps.clock),       open_one(opener, "grantd_bound", maps.bound),
      open_one(opener, "grantd_shaper", maps.shaper),     open_one(opener, "grantd_queue", maps.queue),
      open_one(opener, "grantd_seal", maps.seal),         open_one(opener, "grantd_device", maps.device),
      open_one(opener, "grantd_usage", maps.usage),       open_one(opener, "grantd_delay", maps.delay),
  };
  for (const auto& step : steps)
    if (!step) return step.error();
  auto event = opener("grantd_event");
  if (!event) return event.error();
  maps.event = std::move(event).value();
  return maps;
}

Result<DatapathMaps> DatapathMaps::open_pinned(const std::string& pin_root) {
  return open(pin_root, [&](const std::string& name) -> Result<Descriptor> {
    const std::string path = map_pin(pin_root, name);
    Descriptor descriptor(bpf_obj_get(path.c_str()));
    if (descriptor.valid()) return descriptor;
    const int error_number = errno;
    const std::string hint = error_number == ENOENT   ? "; no grantd has run with this --pin-root since the last start"
                             : error_number == EACCES ? "; only root may"
                                                      : "";
    Error error = system_error("cannot open " + path, error_number);
    error.message += hint;
    return error;
  });
}

Result<std::optional<std::uint32_t>> DatapathMaps::table_size(const TypedMap<__u32, __u32>& outer, std::uint32_t slot,
                                                              std::uint32_t id) const {
  auto pinned = pinned_info(pin_root, outer, slot);
  if (!pinned) return pinned.error();
  if (pinned.value() && pinned.value()->id != id) return std::optional<std::uint32_t>();
  if (pinned.value()) return std::optional<std::uint32_t>(pinned.value()->max_entries);
  auto table = open_table_by_id(pin_root, outer, slot, id);
  if (!table && table.error().error_number == EPERM) return std::optional<std::uint32_t>();
  if (!table) return table.error();
  if (!table.value()) return std::optional<std::uint32_t>();
  auto info = map_info(*table.value());
  if (!info) return info.error();
  return std::optional<std::uint32_t>(info.value().max_entries);
}

Result<std::optional<std::uint32_t>> DatapathMaps::pinned_table(const TypedMap<__u32, __u32>& outer,
                                                                std::uint32_t slot) const {
  auto pinned = pinned_info(pin_root, outer, slot);
  if (!pinned) return pinned.error();
  return pinned.value() ? std::optional<std::uint32_t>(pinned.value()->id) : std::nullopt;
}

Result<std::optional<FlowTable>> DatapathMaps::flow_table(std::uint32_t slot) const {
  return inner<FlowTable>(pin_root, flow, slot);
}

Result<std::optional<FragmentTable>> DatapathMaps::fragment_table(std::uint32_t slot) const {
  return inner<FragmentTable>(pin_root, frag, slot);
}

Result<std::vector<grantd_counter>> DatapathMaps::counters(std::uint32_t slot) const {
  auto table = inner<TypedMap<__u32, grantd_counter>>(pin_root, counter, slot);
  if (!table) return table.error();
  if (!table.value()) return std::vector<grantd_counter>();
  auto cpus = cpu_count();
  if (!cpus) return cpus.error();
  std::vector<grantd_counter> sums(GRANTD_COUNTERS);
  std::vector<grantd_counter> each(static_cast<std::size_t>(cpus.value()));
  for (__u32 index = 0; index < GRANTD_COUNTERS; index++) {
    auto found = table.value()->raw().lookup(&index, each.data());
    if (!found) return found.error();
    grantd_counter& sum = sums[index];
    for (const grantd_counter& one : each) {
      sum.packets += one.packets;
      sum.bytes += one.bytes;
      sum.last_seen_ns = std::max(sum.last_seen_ns, one.last_seen_ns);
      sum.last_event_ns = std::max(sum.last_event_ns, one.last_event_ns);
    }
  }
  return sums;
}

Result<std::uint64_t> DatapathMaps::credit_bytes(std::uint32_t index, std::uint64_t grant_epoch) const {
  auto cpus = cpu_count();
  if (!cpus) return cpus.error();
  std::vector<grantd_credit> each(static_cast<std::size_t>(cpus.value()));
  auto found = credit.raw().lookup(&index, each.data());
  if (!found) return found.error();
  std::uint64_t bytes = 0;
  for (const grantd_credit& one : each)
    if (one.grant_epoch == grant_epoch) bytes += one.bytes;
  return bytes;
}

}  // namespace grantd
