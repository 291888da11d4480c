#include "crd-sync/kubernetes/kubernetes_source.h"

#include "crd-sync/admission.h"
#include "crd-sync/canonical.h"

namespace grantd {

namespace {

ApiTime now() { return ApiTime::clock::now(); }

// A stream that ends is opened again at once, and that is no trouble.
bool is_current(const ReflectorCounters& counters) {
  constexpr auto kShort = std::chrono::seconds(5);
  const auto lag = counters.lag(now());
  return lag && *lag < kShort;
}

}  // namespace

KubernetesSource::KubernetesSource(std::string url, KubernetesOptions options, std::uint64_t seed)
    : url_(std::move(url)),
      options_(std::move(options)),
      objects_(seed),
      namespaces_(keep_namespace(options_.guest_namespaces)),
      pods_(keep_pod()),
      namespace_reflector_(grantd::namespace_reflector(), namespaces_, seed + 2),
      pod_reflector_(grantd::pod_reflector(options_.node), pods_, seed + 3),
      elsewhere_(options_.node, seed + 4, options_.believed_elsewhere),
      strays_(seed + 5) {
  for (const auto& [uid, name] : options_.before.pods) guests_.insert(uid);
}

Result<std::unique_ptr<KubernetesSource>> KubernetesSource::open(const ApiServer& server, KubernetesOptions options) {
  const std::uint64_t seed = hash_text(options.node);
  std::unique_ptr<KubernetesSource> source(new KubernetesSource(server.url, std::move(options), seed));
  source->load_last_good();
  auto client = ApiClient::open(server);
  if (!client) return client.error();
  source->client_ = std::move(client).value();
  source->objects_.follow(*source->client_);
  source->client_->follow(source->namespace_reflector_);
  source->client_->follow(source->pod_reflector_);
  source->strays_.follow(*source->client_);
  return source;
}

void KubernetesSource::load_last_good() {
  if (options_.state_directory.empty()) return;
  file_.emplace(options_.state_directory);
  auto kept = file_->load();
  if (kept)
    last_good_ = std::move(kept).value();
  else
    at_start_.push_back(problem_at(Severity::Warning, options_.state_directory,
                                   "the last good Realms and Grants are lost: " + kept.error().message));
}

bool KubernetesSource::drain() {
  client_->work();
  const ApiTime time = now();
  const std::uint64_t revision =
      objects_.revision() + namespaces_.revision() + pods_.revision() + elsewhere_.revision(time) + strays_.revision();
  client_->wake(elsewhere_.due(time));
  if (revision == revision_) return false;
  revision_ = revision;
  return true;
}

// Only when one of them has changed: pods come and go more often.
void KubernetesSource::admit_objects() {
  if (objects_.revision() == objects_revision_) return;
  objects_revision_ = objects_.revision();
  Admitted admitted = admit(objects_.reads(), last_good_, options_.protected_ranges);
  last_good_ = std::move(admitted.last_good);
  admitted_ = std::move(admitted.desired);
  admitted_.problems.insert(admitted_.problems.begin(), at_start_.begin(), at_start_.end());
  to_keep_ = file_.has_value();
}

std::optional<DesiredState> KubernetesSource::load() {
  if (!objects_.complete() || !namespaces_.complete() || !pods_.complete()) return std::nullopt;
  const std::string& pattern = options_.guest_namespaces;
  auto guests = guests_of(namespaces_.objects(), pods_.objects(), pattern, guests_);
  const ApiTime time = now();
  elsewhere_.want(sharing_namespaces(namespaces_.objects(), guests, pattern), *client_, time);
  client_->wake(elsewhere_.due(time));  // a server that says nothing is waited for no longer than that
  if (!settled_ && !elsewhere_.settled(time)) return std::nullopt;
  settled_ = true;
  guests_.clear();
  for (const Workload& each : guests) guests_.insert(each.pod->node_uid);
  admit_objects();
  DesiredState desired = admitted_;
  desired.cluster = true;
  desired.workloads = std::move(guests);
  desired.elsewhere = elsewhere_.guests(namespaces_.objects(), pattern, time);
  if (elsewhere_.left_out() > 0)
    desired.problems.push_back({Severity::Error,
                                {kApiPath, 0, 0},
                                "namespaces",
                                "",
                                "",
                                std::to_string(elsewhere_.left_out()) +
                                    " share a Grant with guests of this node and are "
                                    "too many; their guests on other nodes are nobody here",
                                "at most " + std::to_string(PodsElsewhere::kMostNamespaces)});
  for (Problem& stray : strays_.problems()) desired.problems.push_back(std::move(stray));
  sort_namespaces(namespaces_.objects(), pattern, desired);
  return desired;
}

std::vector<Problem> KubernetesSource::troubles() const {
  std::vector<Problem> all;
  for (const auto& [kind, each] : counters()) {
    if (each.last_error.empty() || is_current(each)) continue;
    all.push_back(problem_at(Severity::Warning, kApiPath, "the API server cannot be followed: " + each.last_error));
  }
  if (const auto doubted = elsewhere_.doubted(now()); !doubted.empty())
    all.push_back({Severity::Warning,
                   {kApiPath, 0, 0},
                   "namespace " + doubted[0] +
                       (doubted.size() == 1 ? "" : " and " + std::to_string(doubted.size() - 1) + " more"),
                   "",
                   "",
                   "its pods on other nodes have not been followed for too long; until they are, they are nobody here",
                   ""});
  return all;
}

std::optional<std::set<std::string>> KubernetesSource::labelled() const {
  if (!namespaces_.complete()) return std::nullopt;
  auto labelled = labelled_namespaces(namespaces_.objects());
  if (!settled_) labelled.insert(options_.before.namespaces.begin(), options_.before.namespaces.end());
  return labelled;
}

const std::vector<Grant>* KubernetesSource::grants() {
  if (!objects_.complete()) return nullptr;
  admit_objects();
  return &admitted_.grants;
}

bool KubernetesSource::follows_namespaces() const { return is_current(namespace_reflector_.counters()); }

std::optional<Problem> KubernetesSource::keep() {
  if (!to_keep_) return std::nullopt;
  if (const auto saved = file_->save(last_good_); !saved)
    return problem_at(Severity::Warning, options_.state_directory,
                      "the last good Realms and Grants are not kept: " + saved.error().message);
  to_keep_ = false;
  return std::nullopt;
}

std::vector<std::pair<std::string, ReflectorCounters>> KubernetesSource::counters() const {
  std::vector<std::pair<std::string, ReflectorCounters>> all = {{"realms", objects_.realm_counters()},
                                                                {"grants", objects_.grant_counters()},
                                                                {"namespaces", namespace_reflector_.counters()},
                                                                {"pods", pod_reflector_.counters()},
                                                                {"stray_grants", strays_.counters()}};
  if (auto elsewhere = elsewhere_.counters(now())) all.emplace_back("pods_elsewhere", std::move(*elsewhere));
  return all;
}

}  // namespace grantd
