#include "agent/metrics/metrics_server.h"

#include "agent/metrics/listen_address.h"
#include "agent/metrics/metrics_text.h"
#include "agent/snapshot/read_snapshot.h"

#include <httplib.h>
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace grantd {

namespace {

// A slow client holds a thread, and no longer than the time-outs: those who ask about health find another one. Threads
// come as they are needed.
constexpr std::size_t kMostThreads = 64;
constexpr int kReadSeconds = 1, kWriteSeconds = 5, kKeepAliveSeconds = 1;
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char* kTextType = "text/plain; charset=utf-8";

class Workers : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> job) override {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() > idle_ && threads_.size() < kMostThreads) threads_.emplace_back([this] { work(); });
    come_.notify_one();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    come_.notify_all();
    for (std::thread& each : threads_) each.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      idle_++;
      come_.wait(lock, [this] { return !jobs_.empty() || ends_; });
      idle_--;
      if (jobs_.empty()) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable come_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ends_ = false;
};

}  // namespace

struct MetricsServer::Impl {
  explicit Impl(DatapathMaps opened) : maps(std::move(opened)) {}

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
    response.set_content(metrics_text(snapshot.value(), *now), kMetricsType);
    snapshot = Snapshot{};
    malloc_trim(0);  // the maps of a thousand Grants take megabytes while they are read
  }

  void set_up() {
    server.new_task_queue = [] { return new Workers; };  // the library deletes it
    server.set_read_timeout(kReadSeconds);
    server.set_write_timeout(kWriteSeconds);
    server.set_keep_alive_timeout(kKeepAliveSeconds);
    server.set_payload_max_length(0);
    // A second agent must not share the port unnoticed.
    server.set_socket_options([](socket_t socket) {
      const int on = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    });
    server.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) { serve_metrics(response); });
    server.Get("/healthz",
               [](const httplib::Request&, httplib::Response& response) { response.set_content("ok\n", kTextType); });
    server.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const bool ready = current()->ready;
      response.status = ready ? 200 : 503;
      response.set_content(ready ? "ok\n" : "the first full apply is not done\n", kTextType);
    });
  }

  DatapathMaps maps;
  std::mutex mutex, scrape;
  std::shared_ptr<const AgentStatus> status = std::make_shared<AgentStatus>();
  httplib::Server server;
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

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const std::string& listen, const std::string& pin_root) {
  auto address = parse_listen_address(listen);
  if (!address) return address.error();
  auto maps = DatapathMaps::open_pinned(pin_root);
  if (!maps) return maps.error();
  std::unique_ptr<MetricsServer> metrics(new MetricsServer(std::make_unique<Impl>(std::move(maps).value())));
  Impl& impl = *metrics->impl_;
  impl.set_up();
  const auto& [host, port] = address.value();
  errno = 0;
  impl.port = port == 0 ? impl.server.bind_to_any_port(host) : impl.server.bind_to_port(host, port) ? port : -1;
  if (impl.port <= 0) return system_error("cannot listen on " + listen, errno);
  impl.thread = std::thread([&impl] {
    impl.server.listen_after_bind();
    impl.ended = true;
  });
  return metrics;
}

void MetricsServer::publish(AgentStatus status) {
  auto next = std::make_shared<const AgentStatus>(std::move(status));
  const std::lock_guard lock(impl_->mutex);
  impl_->status = std::move(next);
}

int MetricsServer::port() const { return impl_->port; }

}  // namespace grantd
