#include "agent/run/served_metrics.h"

#include "agent/run/log.h"

#include <utility>

namespace grantd {

void ServedMetrics::turn() {
  if (server_) return server_->turned();
  if (listen_.empty() || std::exchange(tried_, true)) return;
  auto server = MetricsServer::start(listen_, pin_root_);
  if (!server) {
    log_error("no metrics are served; everything else goes on", {{"error", server.error().message}});
    return;
  }
  server_ = std::move(server).value();
  log_info("serving /metrics, /healthz and /readyz", {{"listen", listen_}});
}

void ServedMetrics::publish(const AgentStatus& status) {
  if (server_) server_->publish(status);
}

}  // namespace grantd
