// The source that the settings name.
#pragma once

#include "agent/settings/settings.h"
#include "crd-sync/kubernetes/kubernetes_source.h"
#include "crd-sync/source.h"
#include "maps/result.h"

#include <memory>

namespace grantd {

struct OpenedSource {
  std::unique_ptr<Source> source;
  KubernetesSource* api = nullptr;  // the same, where it is the API server
};

Result<OpenedSource> open_source(const Settings& settings);

}  // namespace grantd
