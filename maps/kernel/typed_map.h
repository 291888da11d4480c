// A BPF map with the types of maps/abi.
#pragma once

#include "maps/kernel/raw_map.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

template <typename Key, typename Value>
class TypedMap {
 public:
  using key_type = Key;
  using value_type = Value;

  TypedMap() = default;
  explicit TypedMap(RawMap map) : map_(std::move(map)) {}
  static Result<TypedMap> adopt(Descriptor descriptor, std::string name) {
    return wrap(RawMap::adopt(std::move(descriptor), std::move(name), sizeof(Key), sizeof(Value)));
  }
  static Result<TypedMap> open_pinned(const std::string& path, std::string name) {
    return wrap(RawMap::open_pinned(path, std::move(name), sizeof(Key), sizeof(Value)));
  }

  const RawMap& raw() const { return map_; }

  Result<std::optional<Value>> find(const Key& key) const {
    Value value{};
    auto found = map_.lookup(&key, &value);
    if (!found) return found.error();
    return found.value() ? std::optional<Value>(value) : std::nullopt;
  }
  Result<void> put(const Key& key, const Value& value) const { return map_.update(&key, &value); }
  Result<void> erase(const Key& key) const { return map_.erase(&key); }
  Result<void> put_all(const std::vector<Key>& keys, const std::vector<Value>& values) const {
    return map_.update_all(keys.data(), values.data(), static_cast<std::uint32_t>(keys.size()));
  }

  Result<std::vector<Key>> keys() const {
    std::vector<Key> all;
    Key next{};
    const Key* last = nullptr;
    // A map that changes while it is walked may start over; nobody else writes configuration, and
    // for state the bound keeps the walk finite.
    while (all.size() <= 2ULL * map_.max_entries()) {
      auto more = map_.next_key(last, &next);
      if (!more) return more.error();
      if (!more.value()) break;
      all.push_back(next);
      last = &all.back();
    }
    return all;
  }
  // Entries that vanish while the map is walked are left out.
  Result<std::vector<std::pair<Key, Value>>> entries() const {
    auto all = keys();
    if (!all) return all.error();
    std::vector<std::pair<Key, Value>> result;
    result.reserve(all.value().size());
    for (const Key& key : all.value()) {
      auto value = find(key);
      if (!value) return value.error();
      if (value.value()) result.emplace_back(key, *value.value());
    }
    return result;
  }

 private:
  static Result<TypedMap> wrap(Result<RawMap> map) {
    if (!map) return map.error();
    return TypedMap(std::move(map).value());
  }

  RawMap map_;
};

}  // namespace grantd
