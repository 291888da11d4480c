// The pods of other nodes, of some namespaces: each is followed by itself, and no longer than it is wanted.
#pragma once

#include "crd-sync/api/api_client.h"
#include "crd-sync/kubernetes/core_objects.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

class PodsElsewhere {
 public:
  // Each namespace is a connection of its own to the API server.
  static constexpr std::size_t kMostNamespaces = 64;
  // Of one namespace: the guests of another cannot take its room.
  static constexpr std::size_t kMostBytes = 8U << 20;

  // A namespace that was not followed for so long has no guests elsewhere: a pod that has gone since may have left its
  // address to another one.
  static constexpr std::chrono::seconds kBelieved{60};

  PodsElsewhere(std::string node, std::uint64_t seed, ApiTime::duration believed = kBelieved)
      : node_(std::move(node)), seed_(seed), believed_(believed) {}

  // Follows these from now on, and lets go of all others; of too many the first by name.
  void want(const std::set<std::string>& namespaces, ApiClient& client, ApiTime now);
  std::size_t left_out() const { return left_out_; }

  // Each namespace was known whole once, or there is no use in waiting longer: the server refuses to tell of it, it is
  // more than is kept, or the first one has been wanted for as long as one is believed that is not followed. A single
  // error says nothing: a server that throttles, or a stream that is cut, is asked again.
  bool settled(ApiTime now) const;
  // Those that are guests; in order of their namespaces, then by name.
  std::vector<Workload> guests(const Namespaces::Objects& namespaces, const std::string& pattern, ApiTime now) const;
  // Namespaces that were known and are believed no longer.
  std::vector<std::string> doubted(ApiTime now) const;
  // Of all namespaces together; last_contact, followed_at and last_error of the one that is furthest behind. Nothing
  // where none is followed and none was.
  std::optional<ReflectorCounters> counters(ApiTime now) const;
  // Changes whenever a pod, settled() or what is believed does.
  std::uint64_t revision(ApiTime now);
  // When what is believed may change next, though nothing is heard.
  ApiTime due(ApiTime now) const;

 private:
  struct Followed {
    Followed(const std::string& namespace_name, const std::string& node, std::uint64_t seed);
    Pods pods;
    Reflector reflector;
    bool believed = false;  // when revision() was asked last
  };

  bool settled(const Followed& followed, ApiTime now) const;
  bool believes(const Followed& followed, ApiTime now) const;

  const std::string node_;
  const std::uint64_t seed_;
  const ApiTime::duration believed_;
  std::map<std::string, std::unique_ptr<Followed>> followed_;
  // All together, from when the first was wanted: whoever comes later makes nobody wait longer.
  ApiTime awaited_until_ = ApiTime::max();
  std::size_t left_out_ = 0;
  std::optional<ReflectorCounters> counted_before_;  // of those that are followed no longer
  std::uint64_t given_up_ = 0;                       // revisions of those that are followed no longer
  std::uint64_t turns_ = 0;                          // how often one was believed no longer, or again
};

}  // namespace grantd
