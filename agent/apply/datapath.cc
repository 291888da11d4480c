#include "agent/apply/datapath.h"

#include <grantd.skel.h>
#include "agent/apply/past_stamps.h"
#include "agent/apply/program_constants.h"
#include "agent/attach/attacher.h"
#include "agent/attach/pin_lock.h"
#include "agent/attach/pin_root.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>

namespace grantd {

// What an inner table is made of.
struct TableShape {
  const char* kind;  // for its name
  bpf_map_type type;
  const char* key;  // BTF names; nullptr: u32
  const char* value;
  std::uint32_t key_bytes, value_bytes, max_entries;
};

namespace {

// libbpf's own account of what went wrong, kept for our one error message.
std::string& libbpf_log() {
  static std::string log;
  return log;
}

int keep_log(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  std::vsnprintf(line, sizeof(line), format, arguments);
  if (libbpf_log().size() < 4096) libbpf_log() += line;
  return 0;
}

Error load_error(const std::string& what, int error_number) {
  std::string said = libbpf_log();
  for (char& each : said)
    if (each == '\n') each = ' ';
  return system_error(what + (said.empty() ? "" : ": " + said), error_number);
}

Result<std::uint32_t> program_id(int fd) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return system_error("cannot read a program's id", errno);
  return info.id;
}

// Whether both are maps, or both programs: their ids are counted apart.
bool has_kind_of(const Descriptor& one, int other) {
  const auto kind = [](int fd) {
    std::error_code failed;
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), failed).string();
  };
  return kind(one.get()) == kind(other);
}

struct PinnedMap {
  Descriptor descriptor;
  bpf_map_info info{};
};

// Nothing where no map is pinned.
Result<std::optional<PinnedMap>> pinned_map(const std::string& path) {
  PinnedMap map{Descriptor(bpf_obj_get(path.c_str()))};
  if (!map.descriptor.valid()) {
    if (errno == ENOENT) return std::optional<PinnedMap>();
    return system_error("cannot open " + path, errno);
  }
  __u32 length = sizeof(map.info);
  if (bpf_obj_get_info_by_fd(map.descriptor.get(), &map.info, &length) != 0)
    return system_error("cannot read the size of " + path, errno);
  return std::optional<PinnedMap>(std::move(map));
}

// The kernel says of a map of devices that programs may only read it, which nobody may say who makes one; older
// libbpf takes it for another map than the one that was made.
Result<void> use_again(bpf_map* map, const PinnedMap& pinned, const std::string& path) {
  if (pinned.info.type != bpf_map__type(map) || pinned.info.key_size != bpf_map__key_size(map) ||
      pinned.info.value_size != bpf_map__value_size(map))
    return Error{path + ": is not the map that belongs there", 0};
  int error = bpf_map__set_pin_path(map, nullptr);
  if (error == 0) error = bpf_map__reuse_fd(map, pinned.descriptor.get());
  return error == 0 ? Result<void>() : load_error("cannot use " + path + " again", -error);
}

}  // namespace

const char* Datapath::program_name(Hook hook) { return hook_name(hook); }

Datapath::~Datapath() {
  if (grants_) munmap(grants_, sizeof(grantd_grant) * slots());
  if (skeleton_) grantd_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Datapath>> Datapath::load(const DatapathOptions& options) {
  std::unique_ptr<Datapath> datapath(new Datapath());
  datapath->options_ = options;
  libbpf_set_print(keep_log);
  libbpf_log().clear();
  auto lock = lock_pin_root(options.pin_root);
  if (!lock) return lock.error();
  datapath->lock_ = std::move(lock).value();
  for (auto step :
       {&Datapath::open_skeleton, &Datapath::take_secret, &Datapath::size_maps, &Datapath::load_programs,
        &Datapath::pin_programs, &Datapath::open_maps, &Datapath::keep_secret, &Datapath::drop_other_layouts})
    if (auto done = (datapath.get()->*step)(); !done) return done.error();
  return datapath;
}

Result<void> Datapath::open_skeleton() {
  auto stamp = stamp_settings(options_.stamp_mask);
  if (!stamp) return stamp.error();
  if (auto noted = note_stamp(options_.pin_root, stamp.value()); !noted) return noted;
  skeleton_ = grantd_bpf__open();
  if (!skeleton_) return load_error("cannot open the BPF object", errno);
  set_stamp(*skeleton_, stamp.value());
  for (const std::string& name : map_names()) {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, name.c_str());
    if (!map) return Error{"the BPF object has no map " + name, 0};
    const int error = bpf_map__set_pin_path(map, map_pin(options_.pin_root, name).c_str());
    if (error != 0) return load_error("map " + name + ": cannot set its pin", -error);
  }
  return {};
}

// What is sealed by an earlier agent's secret goes on with it. Without one nothing is sealed yet.
Result<void> Datapath::take_secret() {
  const std::string path = map_pin(options_.pin_root, "grantd_seal");
  auto pinned = pinned_map(path);
  if (!pinned) return pinned.error();
  grantd_seal seal{};
  const __u32 only = 0;
  if (pinned.value() && pinned.value()->info.value_size == sizeof(seal) &&
      bpf_map_lookup_elem(pinned.value()->descriptor.get(), &only, &seal) != 0)
    return system_error("cannot read " + path, errno);
  while (seal.secret == 0)
    if (getrandom(&seal.secret, sizeof(seal.secret), 0) != static_cast<ssize_t>(sizeof(seal.secret)))
      return system_error("cannot make a secret", errno);
  secret_ = seal.secret;
  set_secret(*skeleton_, secret_);
  return {};
}

Result<void> Datapath::keep_secret() { return maps_.seal.put(0, {secret_}); }

// Programs of an agent before this one hold theirs until they are replaced. What cannot be removed only takes room.
Result<void> Datapath::drop_other_layouts() {
  const std::filesystem::path directory = std::filesystem::path(map_pin(options_.pin_root, "")).parent_path();
  std::error_code failed;
  std::vector<std::string> others;
  for (std::filesystem::directory_iterator each(directory, failed), end; !failed && each != end; each.increment(failed))
    for (const std::string& name : map_names()) {
      const std::string pin = each->path().filename().string(), start = name + "_v";
      const bool is_version = pin.starts_with(start) && pin.size() > start.size() &&
                              pin.find_first_not_of("0123456789", start.size()) == std::string::npos;
      if (is_version && each->path() != map_pin(options_.pin_root, name)) others.push_back(each->path().string());
    }
  for (const std::string& each : others) unlink(each.c_str());
  return {};
}

// A map that is pinned keeps its size: what is in it must not be lost.
Result<void> Datapath::size_maps() {
  MapSizes pinned;
  for (const auto& [name, wanted] : map_sizes(options_.limits)) {
    const std::string path = map_pin(options_.pin_root, name);
    auto found = pinned_map(path);
    if (!found) return found.error();
    const std::optional<PinnedMap>& there = found.value();
    if (there) pinned[name] = there->info.max_entries;
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, name.c_str());
    if (there && bpf_map__type(map) == BPF_MAP_TYPE_DEVMAP_HASH) {
      if (auto used = use_again(map, *there, path); !used) return used;
      continue;
    }
    const int error = bpf_map__set_max_entries(map, there ? there->info.max_entries : wanted);
    if (error != 0) return load_error("map " + name + ": cannot set its size", -error);
  }
  limits_ = limits_held(options_.limits, pinned);
  return {};
}

Result<void> Datapath::load_programs() {
  const int error = grantd_bpf__load(skeleton_);
  if (error != 0) return load_error("cannot load the BPF programs", -error);
  for (Hook hook : kHooks) {
    bpf_program* program = bpf_object__find_program_by_name(skeleton_->obj, program_name(hook));
    if (!program) return Error{std::string("the BPF object has no program ") + program_name(hook), 0};
    LoadedProgram loaded;
    loaded.fd = bpf_program__fd(program);
    if (auto named = check_named(hook, loaded.fd); !named) return named;
    auto id = program_id(loaded.fd);
    if (!id) return id.error();
    loaded.id = id.value();
    programs_[hook] = loaded;
  }
  return {};
}

// Pinned under another name and moved, so that there is never none.
Result<void> Datapath::pin_over(int fd, const std::string& path) {
  const std::string fresh = path + "_new";
  unlink(fresh.c_str());
  if (bpf_obj_pin(fd, fresh.c_str()) != 0) return system_error("cannot pin " + fresh, errno);
  if (rename(fresh.c_str(), path.c_str()) != 0) return system_error("cannot rename to " + path, errno);
  return {};
}

Result<void> Datapath::pin_programs() {
  for (const auto& [hook, program] : programs_)
    if (auto pinned = pin_over(program.fd, program_pin(options_.pin_root, program_name(hook))); !pinned) return pinned;
  return {};
}

Result<std::size_t> Datapath::mend_pins() {
  std::size_t mended = 0;
  // Of a root that is gone itself the lock is gone too, and another agent may have made another one.
  if (access(options_.pin_root.c_str(), F_OK) == 0)
    if (auto made = make_pin_root(options_.pin_root); !made) return made.error();
  const auto mend = [&](int fd, const std::string& path, const auto& id_of) -> Result<void> {
    auto wanted = id_of(fd);
    if (!wanted) return wanted.error();
    const Descriptor pinned(bpf_obj_get(path.c_str()));
    if (pinned.valid() && has_kind_of(pinned, fd))
      if (auto found = id_of(pinned.get()); found && found.value() == wanted.value()) return {};
    mended++;
    return pin_over(fd, path);
  };
  for (const std::string& name : map_names()) {
    const int fd = bpf_object__find_map_fd_by_name(skeleton_->obj, name.c_str());
    if (auto done = mend(fd, map_pin(options_.pin_root, name), map_id); !done) return done.error();
  }
  for (const auto& [hook, program] : programs_) {
    auto done = mend(program.fd, program_pin(options_.pin_root, program_name(hook)), program_id);
    if (!done) return done.error();
  }
  return mended;
}

Result<void> Datapath::open_maps() {
  auto maps = DatapathMaps::open(options_.pin_root, [&](const std::string& name) -> Result<Descriptor> {
    const int fd = bpf_object__find_map_fd_by_name(skeleton_->obj, name.c_str());
    Descriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return system_error("map " + name + ": cannot be opened", errno);
    return copy;
  });
  if (!maps) return maps.error();
  maps_ = std::move(maps).value();
  void* mapped =
      mmap(nullptr, sizeof(grantd_grant) * slots(), PROT_READ | PROT_WRITE, MAP_SHARED, maps_.grant.raw().fd(), 0);
  if (mapped == MAP_FAILED) return system_error("map grantd_grant: mmap", errno);
  grants_ = static_cast<std::uint64_t*>(mapped);
  // Who published these may not have come to tell.
  for (std::uint32_t slot = 1; slot < slots(); slot++)
    if (grants_[slot] != 0) unsettled_.insert(slot);
  return {};
}

void Datapath::publish(std::uint32_t slot, std::uint64_t policy_id) {
  // Slot 0 stays in quarantine, whatever anybody asks.
  if (slot == 0 || slot >= slots()) return;
  std::atomic_ref<std::uint64_t>(grants_[slot]).store(policy_id, std::memory_order_release);
  if (policy_id != 0) unsettled_.insert(slot);
}

Result<void> Datapath::settle() {
  const int program = bpf_program__fd(skeleton_->progs.settle_buckets);
  std::array<unsigned char, ETH_HLEN> frame{};  // the kernel wants one
  while (!unsettled_.empty()) {
    __sk_buff context{};
    context.cb[0] = *unsettled_.begin();
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size(), .ctx_in = &context,
                .ctx_size_in = sizeof(context));
    if (bpf_prog_test_run_opts(program, &options) != 0)
      return system_error("cannot tell the buckets of a change", errno);
    if (options.retval != TC_ACT_SHOT) return Error{"settle_buckets returned " + std::to_string(options.retval), 0};
    unsettled_.erase(unsettled_.begin());
  }
  return {};
}

Result<Descriptor> Datapath::make_table(const TableShape& shape, std::uint32_t slot) {
  const btf* types = bpf_object__btf(skeleton_->obj);
  const std::string name = std::string(shape.kind) + "_" + std::to_string(slot);
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.btf_fd = static_cast<__u32>(bpf_object__btf_fd(skeleton_->obj));
  const int key = shape.key ? btf__find_by_name_kind(types, shape.key, BTF_KIND_STRUCT)
                            : btf__find_by_name_kind(types, "__u32", BTF_KIND_TYPEDEF);
  const int value = btf__find_by_name_kind(types, shape.value, BTF_KIND_STRUCT);
  if (key < 0 || value < 0) return Error{"table " + name + ": its types are not in the BPF object", 0};
  options.btf_key_type_id = static_cast<__u32>(key);
  options.btf_value_type_id = static_cast<__u32>(value);
  Descriptor table(
      bpf_map_create(shape.type, name.c_str(), shape.key_bytes, shape.value_bytes, shape.max_entries, &options));
  if (!table.valid()) return system_error("table " + name + ": cannot be made", errno);
  return table;
}

// In batches: bounded in descriptors, and one grace period of the kernel's for each.
Result<void> Datapath::place_tables(const TypedMap<__u32, __u32>& outer, const TableShape& shape,
                                    const std::vector<std::uint32_t>& slots) {
  constexpr std::size_t kBatch = 256;
  for (std::size_t begin = 0; begin < slots.size(); begin += kBatch) {
    std::vector<Descriptor> tables;
    std::vector<__u32> keys, descriptors;
    for (std::size_t index = begin; index < slots.size() && index < begin + kBatch; index++) {
      const std::string pin = table_pin(options_.pin_root, outer.raw().name(), slots[index]);
      // Of a table that is replaced, or that did not find its place: its memory may be all there is.
      unlink(pin.c_str());
      auto table = make_table(shape, slots[index]);
      if (!table) return table.error();
      if (bpf_obj_pin(table.value().get(), pin.c_str()) != 0) return system_error("cannot pin " + pin, errno);
      keys.push_back(slots[index]);
      descriptors.push_back(static_cast<__u32>(table.value().get()));
      tables.push_back(std::move(table).value());
    }
    if (auto placed = outer.put_all(keys, descriptors); !placed) return placed;
  }
  return {};
}

Result<void> Datapath::make_tables(const std::vector<std::uint32_t>& slots, std::uint32_t flows) {
  const TableShape counters{"counter", BPF_MAP_TYPE_PERCPU_ARRAY, nullptr,        "grantd_counter",
                            4,         sizeof(grantd_counter),    GRANTD_COUNTERS};
  const TableShape fragments{"frag",
                             BPF_MAP_TYPE_LRU_HASH,
                             "grantd_frag_key",
                             "grantd_frag",
                             sizeof(grantd_frag_key),
                             sizeof(grantd_frag),
                             GRANTD_FRAGMENTS_PER_GRANT};
  const TableShape flow_tables{"flow",        BPF_MAP_TYPE_LRU_HASH,   "grantd_flow_key",
                               "grantd_flow", sizeof(grantd_flow_key), sizeof(grantd_flow),
                               flows};
  std::vector<std::uint32_t> of_grants;
  for (std::uint32_t slot : slots)
    if (slot != 0) of_grants.push_back(slot);
  if (auto placed = place_tables(maps_.counter, counters, slots); !placed) return placed;
  if (auto placed = place_tables(maps_.frag, fragments, of_grants); !placed) return placed;
  return place_tables(maps_.flow, flow_tables, of_grants);
}

Result<std::map<std::uint32_t, grantd_slot_tables>> Datapath::tables() const {
  std::map<std::uint32_t, grantd_slot_tables> found;
  const int program = bpf_program__fd(skeleton_->progs.read_tables);
  for (std::uint32_t first = 0; first < slots(); first += GRANTD_TABLES_AT_ONCE) {
    grantd_tables tables{};
    tables.first_slot = first;
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &tables, .ctx_size_in = sizeof(tables));
    if (bpf_prog_test_run_opts(program, &options) != 0)
      return system_error("cannot read which tables there are", errno);
    if (options.retval != 0) return Error{"read_tables returned " + std::to_string(options.retval), 0};
    for (std::uint32_t index = 0; index < GRANTD_TABLES_AT_ONCE; index++) {
      const grantd_slot_tables& slot = tables.slots[index];
      if (slot.counter || slot.frag || slot.flow) found[first + index] = slot;
    }
  }
  return found;
}

Result<void> Datapath::remove_tables(const std::vector<std::uint32_t>& slots) {
  for (const auto* outer : {&maps_.flow, &maps_.frag, &maps_.counter})
    for (std::uint32_t slot : slots) {
      if (auto erased = outer->erase(slot); !erased) return erased;
      unlink(table_pin(options_.pin_root, outer->raw().name(), slot).c_str());
    }
  return {};
}

}  // namespace grantd
