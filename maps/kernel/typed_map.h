// A BPF map with the types of maps/abi.
#pragma once

#include "maps/kernel/raw_map.h"

#include <cerrno>
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
  // Calls take(key, value) for each entry. Entries that vanish meanwhile are left out.
  template <typename Take>
  Result<void> for_each(Take take) const {
    std::uint32_t piece = 256;  // at once; a bucket of a hash must fit
    std::vector<Key> keys(piece);
    std::vector<Value> values(piece);
    Place place{};
    bool begins = true;
    for (std::uint64_t seen = 0; seen <= 2ULL * map_.max_entries();) {  // as keys() is bounded
      std::uint32_t count = piece;
      auto more = map_.next_entries(begins, &place, keys.data(), values.data(), count);
      if (!more && more.error().error_number == ENOSPC && piece < map_.max_entries()) {
        piece *= 2;
        keys.resize(piece);
        values.resize(piece);
        continue;
      }
      if (!more) return more.error();
      for (std::uint32_t at = 0; at < count; at++) take(keys[at], values[at]);
      if (!more.value()) break;
      begins = false;
      seen += count;
    }
    return {};
  }
  Result<std::vector<std::pair<Key, Value>>> entries() const {
    std::vector<std::pair<Key, Value>> result;
    auto done = for_each([&](const Key& key, const Value& value) { result.emplace_back(key, value); });
    if (!done) return done.error();
    return result;
  }

 private:
  // The kernel's note of a place: a key, or the number of a bucket.
  union Place {
    Key key;
    std::uint32_t bucket;
  };

  static Result<TypedMap> wrap(Result<RawMap> map) {
    if (!map) return map.error();
    return TypedMap(std::move(map).value());
  }

  RawMap map_;
};

}  // namespace grantd
