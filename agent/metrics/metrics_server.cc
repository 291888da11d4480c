#include "agent/metrics/metrics_server.h"

#include "agent/metrics/http_server.h"
#include "agent/metrics/listen_address.h"
#include "agent/metrics/metrics_text.h"
#include "agent/snapshot/lost_bytes.h"
#include "agent/snapshot/read_snapshot.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <system_error>
#include <thread>

namespace grantd {

namespace {

// What /readyz waits for; "": nothing, guests may start on this node.
std::string missing_for_readiness(const AgentStatus& status) {
  if (!status.ready) return "the first full apply is not done";
  if (status.chain && !status.chain->in_place)
    return "grantd-cni is not in the node's chain: what starts here is not closed from its first packet";
  return "";
}

constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kTextType = "text/plain; charset=utf-8";

using LoopClock = std::chrono::steady_clock;  // stands still while the node is suspended, as the agent does

}  // namespace

struct MetricsServer::Impl {
  Impl(DatapathMaps opened, std::chrono::milliseconds silence) : maps(std::move(opened)), most_silence(silence) {}

  std::shared_ptr<const AgentStatus> current() {
    const std::lock_guard lock(mutex);
    return status;
  }

  void serve_metrics(httplib::Response& response) {
    const auto now = current();
    // One scrape at a time: what it costs does not grow with the number of those who ask.
    const std::lock_guard one(scrape);
    auto snapshot = read_snapshot(maps, {.counters = true, .buckets = true, .flows = false, .fills = true});
    if (!snapshot) {
      response.status = 500;
      response.set_content(snapshot.error().message + "\n", kTextType);
      return;
    }
    lost.keep(snapshot.value());
    response.set_content(metrics_text(snapshot.value(), *now), kMetricsType);
    snapshot = Snapshot{};
    malloc_trim(0);  // the maps of a thousand Grants take megabytes while they are read
  }

  // This thread answers however long the agent's own hangs.
  void serve_health(httplib::Response& response) const {
    const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(LoopClock::now() - last_turn.load());
    const bool alive = silence < most_silence;
    const std::string ago = std::to_string(silence.count() / 1000) + "." + std::to_string(silence.count() / 100 % 10);
    response.status = alive ? 200 : 503;
    response.set_content(alive ? "ok, the agent's loop turned " + ago + " s ago\n"
                               : "the agent's loop has not turned for " + ago + " s\n",
                         kTextType);
  }

  void set_up() {
    // A second agent must not share the port unnoticed.
    server.set_socket_options([](socket_t socket) {
      const int on = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) { serve_metrics(response); });
    server.Get("/healthz", [this](const httplib::Request&, httplib::Response& response) { serve_health(response); });
    server.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const std::string missing = missing_for_readiness(*current());
      response.status = missing.empty() ? 200 : 503;
      response.set_content(missing.empty() ? "ok\n" : missing + "\n", kTextType);
    });
  }

  DatapathMaps maps;
  const std::chrono::milliseconds most_silence;
  std::atomic<LoopClock::time_point> last_turn = LoopClock::now();
  std::mutex mutex, scrape;
  LostBytes lost;  // of scrapes
  std::shared_ptr<const AgentStatus> status = std::make_shared<AgentStatus>();
  HttpServer server;
  int port = 0;
  std::thread thread;
  std::atomic<bool> ended = false;
};

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

// The library forgets a stop() that comes before its loop runs, so it is told until the thread has ended.
MetricsServer::~MetricsServer() {
  if (!impl_->thread.joinable()) return;
  while (!impl_->ended) {
    impl_->server.stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  impl_->thread.join();
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const std::string& listen, const std::string& pin_root,
                                                            std::chrono::milliseconds most_silence) {
  auto address = parse_listen_address(listen);
  if (!address) return address.error();
  auto maps = DatapathMaps::open_pinned(pin_root);
  if (!maps) return maps.error();
  std::unique_ptr<MetricsServer> metrics(
      new MetricsServer(std::make_unique<Impl>(std::move(maps).value(), most_silence)));
  Impl& impl = *metrics->impl_;
  impl.set_up();
  const auto& [host, port] = address.value();
  errno = 0;
  impl.port = port == 0 ? impl.server.bind_to_any_port(host) : impl.server.bind_to_port(host, port) ? port : -1;
  if (impl.port <= 0) return system_error("cannot listen on " + listen, errno);
  impl.server.let_more_wait();
  try {
    impl.thread = std::thread([&impl] {
      impl.server.listen_after_bind();
      impl.ended = true;
    });
  } catch (const std::system_error& failed) {
    impl.server.let_go_of_port();
    return Error{std::string("cannot make a thread to serve metrics: ") + failed.what(), failed.code().value()};
  }
  return metrics;
}

void MetricsServer::publish(AgentStatus status) {
  auto next = std::make_shared<const AgentStatus>(std::move(status));
  const std::lock_guard lock(impl_->mutex);
  impl_->status = std::move(next);
}

void MetricsServer::turned() { impl_->last_turn = LoopClock::now(); }

int MetricsServer::port() const { return impl_->port; }

}  // namespace grantd
