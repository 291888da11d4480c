// A BPF map behind a descriptor, untyped: what TypedMap is made of. Every error names the map.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace grantd {

Result<std::uint32_t> map_id(int fd);

class RawMap {
 public:
  RawMap() = default;
  // Takes the descriptor; refuses a map whose key or value has another size than expected.
  static Result<RawMap> adopt(Descriptor descriptor, std::string name, std::size_t key_bytes, std::size_t value_bytes);
  static Result<RawMap> open_pinned(const std::string& path, std::string name, std::size_t key_bytes,
                                    std::size_t value_bytes);

  int fd() const { return descriptor_.get(); }
  const std::string& name() const { return name_; }
  std::uint32_t max_entries() const { return max_entries_; }
  std::uint32_t id() const { return id_; }

  Result<bool> lookup(const void* key, void* value) const;  // false: not there
  Result<void> update(const void* key, const void* value) const;
  Result<void> erase(const void* key) const;  // what is not there is no error
  // Many at once; keys and values stand one behind the other.
  Result<void> update_all(const void* keys, const void* values, std::uint32_t count) const;
  // Up to `count` entries from `place` on, or from the first one where it `begins`; `place` has room for a key and
  // moves on. Sets `count`; false at the end. ENOSPC: the next piece of the map has more than `count`.
  Result<bool> next_entries(bool begins, void* place, void* keys, void* values, std::uint32_t& count) const;
  // The key after `key` (nullptr: the first); false at the end.
  Result<bool> next_key(const void* key, void* next) const;

 private:
  Error failed(const char* operation, int error_number) const;

  Descriptor descriptor_;
  std::string name_;
  std::uint32_t max_entries_ = 0;
  std::uint32_t id_ = 0;
};

}  // namespace grantd
