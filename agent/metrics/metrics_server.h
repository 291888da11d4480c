// /metrics, /healthz and /readyz over plain HTTP, in threads of their own.
#pragma once

#include "agent/metrics/agent_status.h"
#include "maps/result.h"

#include <memory>
#include <string>

namespace grantd {

class MetricsServer {
 public:
  // `listen`: ADDRESS:PORT or [IPv6]:PORT; port 0: any that is free, see port(). The maps are opened at
  // their pins here and read at each scrape. Fails where the address cannot be bound.
  static Result<std::unique_ptr<MetricsServer>> start(const std::string& listen, const std::string& pin_root);
  ~MetricsServer();  // stops and waits for the threads
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // From any thread; what is served changes from one status to the next as a whole.
  void publish(AgentStatus status);
  int port() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace grantd
