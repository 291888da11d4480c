// The Realms and Grants of a cluster as last known, as admission takes them.
#pragma once

#include "crd-sync/api/api_client.h"
#include "crd-sync/api/api_object.h"
#include "crd-sync/read_manifests.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace grantd {

class KeystoneObjects {
 public:
  // `seed` differs from node to node.
  explicit KeystoneObjects(std::uint64_t seed);
  KeystoneObjects(const KeystoneObjects&) = delete;  // the reflectors point at the stores
  KeystoneObjects& operator=(const KeystoneObjects&) = delete;

  // This outlives `client`.
  void follow(ApiClient& client);

  // Both kinds were known whole at least once. Before that reads() shows deletions that never were.
  bool complete() const { return realms_.complete() && grants_.complete(); }
  // Grows whenever reads() or complete() changes.
  std::uint64_t revision() const { return realms_.revision() + grants_.revision(); }
  // For admit(), in the order of kind and name.
  std::vector<std::shared_ptr<const ReadResult>> reads() const;

  const ReflectorCounters& realm_counters() const { return realm_reflector_.counters(); }
  const ReflectorCounters& grant_counters() const { return grant_reflector_.counters(); }

 private:
  ApiObjects realms_, grants_;
  Reflector realm_reflector_, grant_reflector_;
};

}  // namespace grantd
