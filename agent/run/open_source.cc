#include "agent/run/open_source.h"

#include "crd-sync/kubernetes/kubernetes_source.h"
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

template <typename Opened>
Result<std::unique_ptr<Source>> as_source(Result<Opened> opened) {
  if (!opened) return opened.error();
  return std::unique_ptr<Source>(std::move(opened).value());
}

}  // namespace

Result<std::unique_ptr<Source>> open_source(const Settings& settings) {
  if (settings.kubernetes) {
    const auto server = api_server(settings);
    if (!server) return server.error();
    return as_source(
        KubernetesSource::open(server.value(), {settings.node, settings.guest_namespaces, settings.state_dir}));
  }
  auto manifests = ManifestDirectory::open(settings.manifests, settings.state_dir);
  if (!manifests) return manifests.error();
  return std::unique_ptr<Source>(std::make_unique<ManifestDirectory>(std::move(manifests).value()));
}

}  // namespace grantd
