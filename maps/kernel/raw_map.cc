#include "maps/kernel/raw_map.h"

#include <bpf/bpf.h>

#include <cerrno>

namespace grantd {

Result<std::uint32_t> map_id(int fd) {
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return system_error("cannot read a map's id", errno);
  return info.id;
}

Error RawMap::failed(const char* operation, int error_number) const {
  std::string message = "map " + name_ + ": " + operation;
  if (error_number == E2BIG || error_number == ENOSPC)
    message += " (full at " + std::to_string(max_entries_) + " entries)";
  return system_error(std::move(message), error_number);
}

Result<RawMap> RawMap::adopt(Descriptor descriptor, std::string name, std::size_t key_bytes, std::size_t value_bytes) {
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(descriptor.get(), &info, &length) != 0)
    return system_error("map " + name + ": cannot read its description", errno);
  if (info.key_size != key_bytes || info.value_size != value_bytes)
    return Error{"map " + name + ": key of " + std::to_string(info.key_size) + " and value of " +
                     std::to_string(info.value_size) + " bytes; this version expects " + std::to_string(key_bytes) +
                     " and " + std::to_string(value_bytes),
                 EINVAL};
  RawMap map;
  map.descriptor_ = std::move(descriptor);
  map.name_ = std::move(name);
  map.max_entries_ = info.max_entries;
  map.id_ = info.id;
  return map;
}

Result<RawMap> RawMap::open_pinned(const std::string& path, std::string name, std::size_t key_bytes,
                                   std::size_t value_bytes) {
  Descriptor descriptor(bpf_obj_get(path.c_str()));
  if (!descriptor.valid()) return system_error("map " + name + ": cannot open " + path, errno);
  return adopt(std::move(descriptor), std::move(name), key_bytes, value_bytes);
}

Result<bool> RawMap::lookup(const void* key, void* value) const {
  if (bpf_map_lookup_elem(fd(), key, value) == 0) return true;
  if (errno == ENOENT) return false;
  return failed("lookup", errno);
}

Result<void> RawMap::update(const void* key, const void* value) const {
  if (bpf_map_update_elem(fd(), key, value, BPF_ANY) != 0) return failed("update", errno);
  return {};
}

Result<void> RawMap::erase(const void* key) const {
  if (bpf_map_delete_elem(fd(), key) != 0 && errno != ENOENT) return failed("delete", errno);
  return {};
}

Result<void> RawMap::update_all(const void* keys, const void* values, std::uint32_t count) const {
  __u32 done = count;
  if (count == 0) return {};
  if (bpf_map_update_batch(fd(), keys, values, &done, nullptr) != 0) return failed("batch update", errno);
  return {};
}

Result<bool> RawMap::next_entries(bool begins, void* place, void* keys, void* values, std::uint32_t& count) const {
  if (bpf_map_lookup_batch(fd(), begins ? nullptr : place, place, keys, values, &count, nullptr) == 0) return true;
  if (errno == ENOENT) return false;
  return failed("batch lookup", errno);
}

Result<bool> RawMap::next_key(const void* key, void* next) const {
  if (bpf_map_get_next_key(fd(), key, next) == 0) return true;
  if (errno == ENOENT) return false;
  return failed("iteration", errno);
}

}  // namespace grantd
