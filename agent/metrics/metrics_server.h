// /metrics, /healthz and /readyz over plain HTTP, in threads of their own.
#pragma once

#include "agent/metrics/agent_status.h"
#include "maps/result.h"

#include <chrono>
#include <memory>
#include <string>

namespace grantd {

class MetricsServer {
 public:
  static constexpr std::chrono::minutes kMostSilence{2};  // the agent looks at its node every 30 s

  // `listen`: ADDRESS:PORT or [IPv6]:PORT; port 0: any that is free, see port(). The maps are opened at
  // their pins here and read at each scrape. Fails where the address cannot be bound.
  // `most_silence`: /healthz fails when turned() was not called for as long, from the start on.
  static Result<std::unique_ptr<MetricsServer>> start(const std::string& listen, const std::string& pin_root,
                                                      std::chrono::milliseconds most_silence = kMostSilence);
  ~MetricsServer();  // stops and waits for the threads
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // From any thread; what is served changes from one status to the next as a whole.
  void publish(AgentStatus status);
  // From any thread: the loop of the agent goes on.
  void turned();
  int port() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace grantd
