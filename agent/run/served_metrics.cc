#include "agent/run/served_metrics.h"

#include "agent/run/log.h"

#include <utility>

namespace grantd {

void ServedMetrics::turn() {
  if (server_) return server_->turned();
  if (listen_.empty() || boot_now() < try_at_) return;
  auto server = MetricsServer::start(listen_, pin_root_);
  if (!server) {
    constexpr BootNanoseconds kAgain = 2 * GRANTD_NS_PER_SECOND;
    try_at_ = boot_now() + kAgain;
    if (std::exchange(told_, server.error().message) != server.error().message)
      log_error("no metrics are served until they can be; everything else goes on",
                {{"listen", listen_}, {"error", server.error().message}});
    return;
  }
  server_ = std::move(server).value();
  server_->publish(std::move(status_));
  log_info("serving /metrics, /healthz and /readyz", {{"listen", listen_}});
}

void ServedMetrics::publish(const AgentStatus& status) {
  if (server_)
    server_->publish(status);
  else
    status_ = status;
}

}  // namespace grantd
