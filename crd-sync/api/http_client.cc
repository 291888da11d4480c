#include "crd-sync/api/http_client.h"

#include "crd-sync/api/http_transfer.h"
#include "maps/descriptor.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace grantd {
namespace {

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

bool begin_curl() {
  static const bool begun = [] {
    std::signal(SIGPIPE, SIG_IGN);
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  }();
  return begun;
}

}  // namespace

struct HttpClient::Impl {
  Impl(const ApiServer& to, const HttpLimits& with) : server(to), tokens(to), limits(with) {}
  ~Impl() {
    for (const auto& [id, transfer] : transfers) curl_multi_remove_handle(multi.get(), transfer->handle());
  }

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void* known);
  static int on_timer(CURLM*, long milliseconds, void* self);

  void act(curl_socket_t fd, int events);
  void take_events();
  void add_started();
  void finish_ended();
  void finish_idle(ApiTime now);
  void drop_cancelled();
  std::unique_ptr<HttpTransfer> taken(std::uint64_t id);
  void arm();

  const ApiServer server;
  TokenReader tokens;
  const HttpLimits limits;
  Descriptor epoll, timer;
  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::map<std::uint64_t, std::unique_ptr<HttpTransfer>> transfers;
  std::vector<std::uint64_t> started;  // not handed to libcurl yet
  std::uint64_t last_id = 0;
  bool inside = false;  // of libcurl, which must not be called then
  ApiTime curl_due = ApiTime::max(), alarm = ApiTime::max();
};

int HttpClient::Impl::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto& impl = *static_cast<Impl*>(self);
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(impl.epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
    return 0;
  }
  epoll_event event{};
  event.events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U);
  event.data.fd = fd;
  if (epoll_ctl(impl.epoll.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  return epoll_ctl(impl.epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

int HttpClient::Impl::on_timer(CURLM*, long milliseconds, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  impl.curl_due =
      milliseconds < 0 ? ApiTime::max() : std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  return 0;
}

void HttpClient::Impl::act(curl_socket_t fd, int events) {
  int running = 0;
  inside = true;
  curl_multi_socket_action(multi.get(), fd, events, &running);
  inside = false;
}

void HttpClient::Impl::take_events() {
  std::array<epoll_event, 32> events{};
  const int count = epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int index = 0; index < count; ++index) {
    const epoll_event& event = events[static_cast<std::size_t>(index)];
    if (event.data.fd == timer.get()) {
      std::uint64_t expirations = 0;
      (void)!read(timer.get(), &expirations, sizeof(expirations));
      continue;
    }
    act(event.data.fd, (event.events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                           (event.events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                           (event.events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
  }
}

void HttpClient::Impl::add_started() {
  for (const std::uint64_t id : std::exchange(started, {})) {
    const auto found = transfers.find(id);
    if (found == transfers.end()) continue;
    inside = true;
    const bool added =
        found->second->valid() && curl_multi_add_handle(multi.get(), found->second->handle()) == CURLM_OK;
    inside = false;
    if (!added) taken(id)->end(ApiError{ApiErrorReason::Connection, "libcurl refuses the request"});
  }
}

std::unique_ptr<HttpTransfer> HttpClient::Impl::taken(std::uint64_t id) {
  const auto found = transfers.find(id);
  std::unique_ptr<HttpTransfer> transfer = std::move(found->second);
  transfers.erase(found);
  curl_multi_remove_handle(multi.get(), transfer->handle());  // one that was never added does no harm
  return transfer;
}

void HttpClient::Impl::finish_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    const auto found = std::find_if(transfers.begin(), transfers.end(), [message](const auto& each) {
      return each.second->handle() == message->easy_handle;
    });
    if (found != transfers.end()) taken(found->first)->end(code);
  }
}

void HttpClient::Impl::finish_idle(ApiTime now) {
  std::vector<std::uint64_t> idle;
  for (const auto& [id, transfer] : transfers)
    if (transfer->idle_due() <= now) idle.push_back(id);
  for (const std::uint64_t id : idle)
    if (transfers.contains(id)) taken(id)->end(ApiError{ApiErrorReason::TimedOut, "nothing came for too long"});
}

void HttpClient::Impl::drop_cancelled() {
  std::vector<std::uint64_t> cancelled;
  for (const auto& [id, transfer] : transfers)
    if (transfer->cancelled()) cancelled.push_back(id);
  for (const std::uint64_t id : cancelled) taken(id);
}

void HttpClient::Impl::arm() {
  ApiTime due = started.empty() ? std::min(curl_due, alarm) : ApiTime{};
  for (const auto& [id, transfer] : transfers) due = std::min(due, transfer->idle_due());
  itimerspec when{};  // zero: off
  if (due != ApiTime::max()) {
    const auto since = std::max(due.time_since_epoch(), ApiTime::duration{1});
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = std::chrono::nanoseconds(since - seconds).count();
  }
  timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::open(const ApiServer& server, const HttpLimits& limits) {
  if (!begin_curl()) return Error{"libcurl cannot be used"};
  auto impl = std::make_unique<Impl>(server, limits);
  impl->epoll = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  impl->timer = Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!impl->epoll.valid() || !impl->timer.valid())
    return system_error("cannot make the event loop of the API client", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = impl->timer.get();
  if (epoll_ctl(impl->epoll.get(), EPOLL_CTL_ADD, impl->timer.get(), &event) != 0)
    return system_error("epoll_ctl", errno);
  impl->multi.reset(curl_multi_init());
  if (!impl->multi) return Error{"libcurl cannot be used"};
  curl_multi_setopt(impl->multi.get(), CURLMOPT_SOCKETFUNCTION, &Impl::on_socket);
  curl_multi_setopt(impl->multi.get(), CURLMOPT_SOCKETDATA, impl.get());
  curl_multi_setopt(impl->multi.get(), CURLMOPT_TIMERFUNCTION, &Impl::on_timer);
  curl_multi_setopt(impl->multi.get(), CURLMOPT_TIMERDATA, impl.get());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

int HttpClient::fd() const { return impl_->epoll.get(); }

void HttpClient::work() {
  impl_->take_events();
  const ApiTime now = std::chrono::steady_clock::now();
  if (impl_->curl_due <= now) {
    impl_->curl_due = ApiTime::max();
    impl_->act(CURL_SOCKET_TIMEOUT, 0);
  }
  impl_->finish_ended();
  impl_->finish_idle(now);
  impl_->drop_cancelled();
  impl_->add_started();
  if (impl_->alarm <= now) impl_->alarm = ApiTime::max();
  impl_->arm();
}

std::uint64_t HttpClient::start(const ApiRequest& request, HttpHandlers handlers) {
  const std::uint64_t id = ++impl_->last_id;
  impl_->transfers.emplace(id, std::make_unique<HttpTransfer>(impl_->server, impl_->tokens.read(), impl_->limits,
                                                              request, std::move(handlers)));
  impl_->started.push_back(id);
  impl_->arm();
  return id;
}

void HttpClient::cancel(std::uint64_t id) {
  const auto found = impl_->transfers.find(id);
  if (found == impl_->transfers.end()) return;
  found->second->cancel();
  if (!impl_->inside) impl_->taken(id);
}

void HttpClient::set_alarm(ApiTime due) {
  impl_->alarm = due;
  impl_->arm();
}

}  // namespace grantd
