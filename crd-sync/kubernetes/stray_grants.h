// Grants outside of keystone-system. They grant nothing, whoever makes them; but somebody should hear of it.
#pragma once

#include "crd-sync/api/api_client.h"
#include "crd-sync/api/object_store.h"
#include "crd-sync/resources.h"

#include <cstdint>
#include <variant>
#include <vector>

namespace grantd {

class StrayGrants {
 public:
  // More of them are told of as an error of following.
  static constexpr std::size_t kMost = 1'000;

  explicit StrayGrants(std::uint64_t seed);
  StrayGrants(const StrayGrants&) = delete;  // the reflector points at the store
  StrayGrants& operator=(const StrayGrants&) = delete;

  // This outlives `client`.
  void follow(ApiClient& client) { client.follow(reflector_); }
  std::uint64_t revision() const { return known_.revision(); }
  const ReflectorCounters& counters() const { return reflector_.counters(); }
  // The first ones by name, and how many more there are.
  std::vector<Problem> problems() const;

 private:
  ObjectStore<std::monostate> known_;  // of each that it is there
  Reflector reflector_;
};

}  // namespace grantd
