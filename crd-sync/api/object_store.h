// The objects of one kind as last known: of each what a projection keeps, and never the whole of them twice.
#pragma once

#include "crd-sync/api/object_sink.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace grantd {

template <typename T>
class ObjectStore final : public ObjectSink {
 public:
  // What is kept of an object; nothing: the object is none of ours; an Error: it cannot be read.
  using Projection = std::function<Result<std::optional<T>>(const nlohmann::json& object)>;

  struct Entry {
    std::string uid;
    std::string version;
    std::shared_ptr<const T> object;
    bool operator==(const Entry&) const = default;
  };
  using Objects = std::map<ObjectKey, Entry>;

  static constexpr std::size_t kMostObjects = 100'000;

  explicit ObjectStore(Projection projection, std::size_t most = kMostObjects)
      : projection_(std::move(projection)), most_(most) {}

  const Objects& objects() const { return objects_; }
  // Whether objects() was ever a whole set.
  bool complete() const { return complete_; }
  // Grows whenever objects() or complete() changes.
  std::uint64_t revision() const { return revision_; }

  void begin_replace() override { next_.emplace(); }
  void abandon_replace() override { next_.reset(); }
  void end_replace() override {
    if (!next_) return;
    if (!complete_ || *next_ != objects_) {
      objects_ = std::move(*next_);
      complete_ = true;
      ++revision_;
    }
    next_.reset();
  }

  Result<void> put(const ObjectMeta& meta, const nlohmann::json& object) override {
    const auto known = objects_.find(meta.key);
    const bool same = known != objects_.end() && known->second.uid == meta.uid;
    if (same && known->second.version == meta.version) {
      if (next_) next_->insert_or_assign(meta.key, known->second);  // shared, not kept twice
      return {};
    }
    auto kept = project(object);
    if (!kept) {
      if (same && next_) next_->insert_or_assign(meta.key, known->second);
      if (!same) erase(meta.key);  // of another object by the same name
      return kept.error();
    }
    if (!kept.value()) {
      erase(meta.key);
      return {};
    }
    auto entry = Entry{meta.uid, meta.version, std::make_shared<const T>(std::move(*std::move(kept).value()))};
    (next_ ? *next_ : objects_).insert_or_assign(meta.key, std::move(entry));
    if (!next_) ++revision_;
    return {};
  }

  // What a late message says of an older object by the same name is not believed.
  void remove(const ObjectMeta& meta) override {
    const Objects& current = next_ ? *next_ : objects_;
    if (const auto known = current.find(meta.key); known != current.end() && known->second.uid == meta.uid)
      erase(meta.key);
  }

  bool full() const override { return (next_ ? *next_ : objects_).size() > most_; }

 private:
  // nlohmann's accessors throw where a value is of another type than was expected.
  Result<std::optional<T>> project(const nlohmann::json& object) const {
    try {
      return projection_(object);
    } catch (const nlohmann::json::exception& error) {
      return Error{error.what()};
    }
  }

  void erase(const ObjectKey& key) {
    if (next_)
      next_->erase(key);
    else if (objects_.erase(key) > 0)
      ++revision_;
  }

  const Projection projection_;
  const std::size_t most_;
  Objects objects_;
  std::optional<Objects> next_;
  bool complete_ = false;
  std::uint64_t revision_ = 0;
};

}  // namespace grantd
