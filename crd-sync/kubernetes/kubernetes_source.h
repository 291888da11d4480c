// The API server as a source of desired state: Realms, Grants, namespaces, and the pods of one node.
#pragma once

#include "crd-sync/api/keystone_objects.h"
#include "crd-sync/kubernetes/core_objects.h"
#include "crd-sync/kubernetes/guests.h"
#include "crd-sync/kubernetes/pods_elsewhere.h"
#include "crd-sync/kubernetes/stray_grants.h"
#include "crd-sync/last_good.h"
#include "crd-sync/source.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// What an agent before this one has left.
struct GuestsBefore {
  std::map<std::string, std::string> pods;  // as DesiredState::former_guests
  std::set<std::string> namespaces;         // labelled ones
};

struct KubernetesOptions {
  std::string node;                             // whose pods
  std::string guest_namespaces;                 // see guest_pattern.h
  std::string state_directory;                  // keeps the last good version of each Realm and Grant; "" for none
  std::vector<IpPrefix> protected_ranges = {};  // as for admit()
  ApiTime::duration believed_elsewhere = PodsElsewhere::kBelieved;
  GuestsBefore before = {};
};

class KubernetesSource final : public Source {
 public:
  // Needs no server that answers: until there is one, load() gives nothing.
  static Result<std::unique_ptr<KubernetesSource>> open(const ApiServer& server, KubernetesOptions options);

  const char* kind() const override { return "kubernetes"; }
  std::string place() const override { return url_; }
  std::vector<int> fds() const override { return {client_->fd()}; }
  bool drain() override;

  // Pods that are guests whatever their namespace is now, by their uids as the node has them, besides those that were
  // guests when load() was called last. Counts for the next load().
  void know(const std::set<std::string>& guests) { guests_.insert(guests.begin(), guests.end()); }

  // Nothing until every kind was known whole once: what has not come yet is not what was deleted. From then on the
  // last whole set of each kind counts, also while the server is away. Guests elsewhere are waited for too, the first
  // time, but not for a server that refuses to tell of them, nor longer than they would be believed.
  std::optional<DesiredState> load() override;
  std::vector<Problem> troubles() const override;
  std::optional<Problem> keep() override;

  // Each kind that is followed, for metrics and for troubles().
  std::vector<std::pair<std::string, ReflectorCounters>> counters() const;
  // Those with the label keystone.io/realm, and those that had it before, once all namespaces are known: for as long as
  // load() gives nothing yet.
  std::optional<std::set<std::string>> labelled() const;
  const GuestsBefore& before() const { return options_.before; }
  // All Grants, once Realms and Grants are known: also while load() gives nothing yet; null until then.
  const std::vector<Grant>* grants();
  // What is known of namespaces is as the server has it now, or was a moment ago.
  bool follows_namespaces() const;
  // For requests of others: status, Events.
  ApiClient& client() { return *client_; }

 private:
  KubernetesSource(std::string url, KubernetesOptions options, std::uint64_t seed);
  void load_last_good();
  void admit_objects();

  const std::string url_;
  const KubernetesOptions options_;
  std::optional<LastGoodFile> file_;
  LastGood last_good_;
  std::vector<Problem> at_start_;  // reported with every load
  bool to_keep_ = false;           // last_good_ may differ from the file

  KeystoneObjects objects_;
  Namespaces namespaces_;
  Pods pods_;
  Reflector namespace_reflector_, pod_reflector_;
  PodsElsewhere elsewhere_;
  StrayGrants strays_;
  std::set<std::string> guests_;        // who was a guest by the last load(), or before it, or is known to be one; uids
  bool settled_ = false;                // load() has given something
  std::uint64_t revision_ = 0;          // of everything, when drain() told of it last
  std::uint64_t objects_revision_ = 0;  // of objects_, when they were admitted last
  DesiredState admitted_;               // without guests
  std::unique_ptr<ApiClient> client_;   // goes first: it points at the reflectors
};

}  // namespace grantd
