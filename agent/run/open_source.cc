#include "agent/run/open_source.h"

#include "crd-sync/manifest_directory.h"

#include <cstdlib>

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

}  // namespace

Result<OpenedSource> open_source(const Settings& settings) {
  if (settings.kubernetes) {
    const auto server = api_server(settings);
    if (!server) return server.error();
    auto api = KubernetesSource::open(
        server.value(), {settings.node, settings.guest_namespaces, settings.state_dir, settings.cluster_ranges()});
    if (!api) return api.error();
    KubernetesSource* source = api.value().get();
    return OpenedSource{std::move(api).value(), source};
  }
  auto manifests = ManifestDirectory::open(settings.manifests, settings.state_dir, settings.cluster_ranges());
  if (!manifests) return manifests.error();
  return OpenedSource{std::make_unique<ManifestDirectory>(std::move(manifests).value()), nullptr};
}

}  // namespace grantd
