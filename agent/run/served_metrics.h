// /metrics, /healthz and /readyz as the agent serves them: what its loop tells of itself.
#pragma once

#include "agent/metrics/metrics_server.h"

#include <memory>
#include <string>

namespace grantd {

class ServedMetrics {
 public:
  // `listen` "": nowhere. The maps are pinned by the first turn().
  ServedMetrics(std::string listen, std::string pin_root)
      : listen_(std::move(listen)), pin_root_(std::move(pin_root)) {}

  // Once at the start, and whenever the loop turns or has done one thing of many: who does not come round to this for
  // long is no longer alive. Cheap.
  void turn();
  void publish(const AgentStatus& status);

 private:
  const std::string listen_, pin_root_;
  bool tried_ = false;
  std::unique_ptr<MetricsServer> server_;
};

}  // namespace grantd
