#include "agent/metrics/http_server.h"

#include "maps/descriptor.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

namespace grantd {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMostThreads = 64;
constexpr int kMostWaiting = 256, kCrowd = 32;
constexpr std::size_t kMostInCrowd = 8;
constexpr std::size_t kMostRequestBytes = 16384;
constexpr milliseconds kRequestTime{1000}, kAnswerTime{10000};

// Threads come as they are needed.
class Workers : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> job) override {
    {
      const std::lock_guard lock(mutex_);
      if (idle_ <= jobs_.size() && threads_.size() < kMostThreads) add_thread();
      if (!threads_.empty()) {
        jobs_.push_back(std::move(job));
        come_.notify_one();
        return;
      }
    }
    job();
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
  // Where there is none to be had, those that are there come to the job, or whoever has accepted the connection.
  void add_thread() {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
    }
  }

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

std::string text_of(const sockaddr_storage& address, bool client_only) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof(text));
  } else if (address.ss_family == AF_INET6) {
    in6_addr ipv6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    // Mapped addresses are IPv4's; of others, whoever has one has the rest of its /64.
    if (client_only && !IN6_IS_ADDR_V4MAPPED(&ipv6)) std::memset(ipv6.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &ipv6, text, sizeof(text));
  }
  return text;
}

int port_of(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

// A connection with an end to all that is read from it and to all that is written: the library's own time-outs are for
// each part, and whoever sends a byte a second never reaches them.
class BoundedStream : public httplib::Stream {
 public:
  explicit BoundedStream(int socket) : socket_(socket) {}

  bool is_readable() const override { return wait(POLLIN, read_until_); }
  bool is_writable() const override { return wait(POLLOUT, Clock::now() + kAnswerTime); }

  ssize_t read(char* to, size_t size) override {
    size = std::min(size, kMostRequestBytes - read_);
    if (size == 0 || !wait(POLLIN, read_until_)) return -1;
    const ssize_t got = recv(socket_, to, size, MSG_DONTWAIT);
    if (got > 0) read_ += static_cast<std::size_t>(got);
    return got;
  }

  ssize_t write(const char* from, size_t size) override {
    if (!writes_) write_until_ = Clock::now() + kAnswerTime;
    writes_ = true;
    if (!wait(POLLOUT, write_until_)) return -1;
    return send(socket_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override { name(getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { name(getsockname, ip, port); }
  socket_t socket() const override { return socket_; }

 private:
  bool wait(short what, Clock::time_point until) const {
    while (true) {
      const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
      if (left <= 0) return false;
      pollfd polled{socket_, what, 0};
      const int ready = poll(&polled, 1, static_cast<int>(left));
      if (ready > 0) return true;
      if (ready == 0 || errno != EINTR) return false;
    }
  }

  template <typename Ask>
  void name(Ask ask, std::string& ip, int& port) const {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    if (ask(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
    ip = text_of(address, false);
    port = port_of(address);
  }

  int socket_;
  std::size_t read_ = 0;
  bool writes_ = false;
  Clock::time_point read_until_ = Clock::now() + kRequestTime, write_until_;
};

std::string client_of(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "";
  return text_of(address, true);
}

}  // namespace

HttpServer::HttpServer() {
  new_task_queue = [] { return new Workers; };  // the library deletes it
  set_payload_max_length(0);
}

void HttpServer::let_more_wait() { ::listen(svr_sock_, kMostWaiting); }

void HttpServer::let_go_of_port() {
  if (const socket_t socket = svr_sock_.exchange(INVALID_SOCKET); socket != INVALID_SOCKET) ::close(socket);
}

bool HttpServer::process_and_close_socket(socket_t socket) {
  const Descriptor owned(socket);
  const std::string client = client_of(socket);
  if (client.empty()) return false;  // gone again
  std::list<socket_t>::iterator place;
  {
    const std::lock_guard lock(mutex_);
    std::list<socket_t>& others = served_[client];
    if (all_served_ >= kCrowd && others.size() >= kMostInCrowd) {
      shutdown(others.front(), SHUT_RDWR);  // its thread ends it
      others.splice(others.end(), others, others.begin());
    }
    place = others.insert(others.end(), socket);
    all_served_++;
  }
  BoundedStream stream(socket);
  bool closed = false;
  // A part of an answer is of no use, and the library copies it for each of as many ranges as a request may name.
  const auto whole = [](httplib::Request& request) { request.ranges.clear(); };
  const bool answered = process_request(stream, true, closed, whole);
  shutdown(socket, SHUT_RDWR);
  const std::lock_guard lock(mutex_);
  all_served_--;
  std::list<socket_t>& left = served_[client];
  left.erase(place);
  if (left.empty()) served_.erase(client);
  return answered;
}

}  // namespace grantd
