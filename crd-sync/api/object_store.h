// The objects of one kind as last known: of each what a projection keeps, and never the whole of them twice.
#pragma once

#include "crd-sync/api/json.h"
#include "crd-sync/api/object_sink.h"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace grantd {

// How much of an object is kept. Where its projection has no word of its own, all of it.
template <typename T>
std::size_t kept_bytes(const nlohmann::json& object, const T&) {
  return json_bytes(object);
}
inline std::size_t kept_bytes(const nlohmann::json&, std::monostate) { return 0; }

template <typename T>
class ObjectStore final : public ObjectSink {
 public:
  // What is kept of an object; nothing: the object is none of ours; an Error: it cannot be read.
  using Projection = std::function<Result<std::optional<T>>(const nlohmann::json& object)>;

  struct Entry {
    std::string uid;
    std::string version;
    std::shared_ptr<const T> object;
    std::size_t bytes = 0;  // of object
    // Whoever has the same object has its version too, or one that says nothing else.
    bool operator==(const Entry& other) const { return uid == other.uid && object == other.object; }
  };
  using Objects = std::map<ObjectKey, Entry>;

  static constexpr std::size_t kMostObjects = 100'000, kMostBytes = 128U << 20;

  explicit ObjectStore(Projection projection, std::size_t most = kMostObjects, std::size_t most_bytes = kMostBytes)
      : projection_(std::move(projection)), most_(most), most_bytes_(most_bytes) {}

  const Objects& objects() const { return known_.objects; }
  // Whether objects() was ever a whole set.
  bool complete() const { return complete_; }
  // Grows whenever objects() or complete() changes, but for versions.
  std::uint64_t revision() const { return revision_; }

  void begin_replace() override { next_.emplace(); }
  void abandon_replace() override { next_.reset(); }
  void end_replace() override {
    if (!next_) return;
    if (!complete_ || next_->objects != known_.objects) ++revision_;
    complete_ = true;
    known_ = std::move(*next_);
    next_.reset();
  }

  Result<void> put(const ObjectMeta& meta, const nlohmann::json& object) override {
    const auto known = known_.objects.find(meta.key);
    const bool same = known != known_.objects.end() && known->second.uid == meta.uid;
    if (same && known->second.version == meta.version) {
      if (next_) next_->insert(meta.key, known->second);  // shared, not kept twice
      return {};
    }
    auto kept = project(object);
    if (!kept) {
      if (same && next_) next_->insert(meta.key, known->second);
      if (!same) erase(meta.key);  // of another object by the same name
      return kept.error();
    }
    if (!kept.value()) {
      erase(meta.key);
      return {};
    }
    if (same && is_equal(*known->second.object, *kept.value())) {
      Entry entry = known->second;  // an object's heartbeat is no news, and after a relist no second copy
      entry.version = meta.version;
      current().insert(meta.key, std::move(entry));
      return {};
    }
    const std::size_t bytes = kept_bytes(object, *kept.value());
    current().insert(meta.key,
                     {meta.uid, meta.version, std::make_shared<const T>(std::move(*std::move(kept).value())), bytes});
    if (!next_) ++revision_;
    return {};
  }

  // What a late message says of an older object by the same name is not believed.
  void remove(const ObjectMeta& meta) override {
    const Objects& objects = current().objects;
    if (const auto known = objects.find(meta.key); known != objects.end() && known->second.uid == meta.uid)
      erase(meta.key);
  }

  bool full() const override {
    const Set& set = next_ ? *next_ : known_;
    return set.objects.size() > most_ || set.bytes > most_bytes_;
  }

 private:
  struct Set {
    Objects objects;
    std::size_t bytes = 0;  // of all of them, with what names them

    static std::size_t bytes_of(const ObjectKey& key, const Entry& entry) {
      constexpr std::size_t kOfEach = 256;
      return kOfEach + key.namespace_name.size() + key.name.size() + entry.uid.size() + entry.version.size() +
             entry.bytes;
    }
    void insert(const ObjectKey& key, Entry entry) {
      erase(key);
      bytes += bytes_of(key, entry);
      objects.emplace(key, std::move(entry));
    }
    bool erase(const ObjectKey& key) {
      const auto found = objects.find(key);
      if (found == objects.end()) return false;
      bytes -= bytes_of(key, found->second);
      objects.erase(found);
      return true;
    }
  };

  static bool is_equal(const T& one, const T& other) {
    if constexpr (std::equality_comparable<T>) return one == other;
    return false;
  }

  // nlohmann's accessors throw where a value is of another type than was expected.
  Result<std::optional<T>> project(const nlohmann::json& object) const {
    try {
      return projection_(object);
    } catch (const nlohmann::json::exception& error) {
      return Error{error.what()};
    }
  }

  Set& current() { return next_ ? *next_ : known_; }

  void erase(const ObjectKey& key) {
    if (current().erase(key) && !next_) ++revision_;
  }

  const Projection projection_;
  const std::size_t most_, most_bytes_;
  Set known_;
  std::optional<Set> next_;
  bool complete_ = false;
  std::uint64_t revision_ = 0;
};

}  // namespace grantd
