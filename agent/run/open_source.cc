#include "agent/run/open_source.h"

#include "agent/handover/guest_namespaces.h"
#include "agent/run/log.h"
#include "crd-sync/manifest_directory.h"

#include <cstdlib>
#include <utility>

namespace grantd {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<ApiServer> api_server(const Settings& settings) {
  if (!settings.kubeconfig.empty()) return kubeconfig_server(settings.kubeconfig);
  return in_cluster_server(environment("KUBERNETES_SERVICE_HOST"), environment("KUBERNETES_SERVICE_PORT"));
}

// What cannot be read is written anew before long; until then grantd-cni starts no pod that may be a guest's.
GuestsBefore guests_before(const Settings& settings) {
  auto before = read_guest_namespaces(settings.state_dir);
  if (!before) log_warning("who was a guest before is not known", {{"error", before.error().message}});
  if (!before || !before.value()) return {};
  return {std::move(before.value()->former_guests), std::move(before.value()->guests)};
}

}  // namespace

Result<OpenedSource> open_source(const Settings& settings) {
  if (settings.kubernetes) {
    const auto server = api_server(settings);
    if (!server) return server.error();
    KubernetesOptions options{settings.node, settings.guest_namespaces, settings.state_dir, settings.cluster_ranges()};
    options.before = guests_before(settings);
    auto api = KubernetesSource::open(server.value(), std::move(options));
    if (!api) return api.error();
    KubernetesSource* source = api.value().get();
    return OpenedSource{std::move(api).value(), source};
  }
  auto manifests = ManifestDirectory::open(settings.manifests, settings.state_dir, settings.cluster_ranges());
  if (!manifests) return manifests.error();
  return OpenedSource{std::make_unique<ManifestDirectory>(std::move(manifests).value()), nullptr};
}

}  // namespace grantd
