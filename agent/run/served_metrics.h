// /metrics, /healthz and /readyz as the agent serves them: what its loop tells of itself.
#pragma once

#include "agent/metrics/metrics_server.h"
#include "agent/node/clock.h"

#include <memory>
#include <string>

namespace grantd {

class ServedMetrics {
 public:
  // `listen` "": nowhere. The maps are pinned by the first turn().
  ServedMetrics(std::string listen, std::string pin_root)
      : listen_(std::move(listen)), pin_root_(std::move(pin_root)) {}

  // Once at the start, and whenever the loop turns or has done one thing of many: who does not come round to this for
  // long is no longer alive. Listens where it does not yet, again and again: not being able to is no reason not to
  // enforce. Cheap.
  void turn();
  // When there is something to do, though nothing happens.
  BootNanoseconds next_due() const { return server_ || listen_.empty() ? ~BootNanoseconds{0} : try_at_; }
  void publish(const AgentStatus& status);

 private:
  const std::string listen_, pin_root_;
  BootNanoseconds try_at_ = 0;
  std::string told_;    // why it could not listen
  AgentStatus status_;  // until it listens
  std::unique_ptr<MetricsServer> server_;
};

}  // namespace grantd
