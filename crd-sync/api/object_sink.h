// Where a reflector puts what it is told of, one resource kind.
#pragma once

#include "maps/result.h"

#include <nlohmann/json.hpp>

#include <compare>
#include <cstddef>
#include <optional>
#include <string>

namespace grantd {

struct ObjectKey {
  std::string namespace_name;  // "" for objects of the cluster
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};

struct ObjectMeta {
  ObjectKey key;
  std::string uid;
  std::string version;  // opaque: equal or not, never before or after
};

inline constexpr std::size_t kMostVersionBytes = 128;

// Nothing where the object does not say who it is within the API's bounds.
std::optional<ObjectMeta> object_meta(const nlohmann::json& object);

class ObjectSink {
 public:
  virtual ~ObjectSink() = default;

  // Between begin and end, put and remove build the new set; the old one is what counts until the end.
  virtual void begin_replace() = 0;
  virtual void end_replace() = 0;
  virtual void abandon_replace() = 0;  // the old one stays; also where no replacement was begun

  // An Error is this object's own; its last version stays.
  virtual Result<void> put(const ObjectMeta& meta, const nlohmann::json& object) = 0;
  virtual void remove(const ObjectMeta& meta) = 0;

  // More than may be kept.
  virtual bool full() const = 0;
};

}  // namespace grantd
