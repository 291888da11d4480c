// A container runtime that is the test: a unix socket with as much HTTP/2 (RFC 9113) as one unary gRPC call needs.
#pragma once

#include "agent/guests/cri/grpc.h"
#include "maps/descriptor.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace grantd::test {

struct CriAnswer {
  std::string message = "";
  std::string status = "0", why = "";
  std::string raw = "";  // instead of all that: these bytes, and the end
};

class CriServer {
 public:
  // `answer` is called with the number of the call, from a thread of its own.
  CriServer(std::string path, std::function<CriAnswer(int call)> answer)
      : path_(std::move(path)), answer_(std::move(answer)) {
    listener_ = Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    good_ = bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
            listen(listener_.get(), 8) == 0;
    thread_ = std::thread([this] { run(); });
  }
  ~CriServer() {
    stop_ = true;
    thread_.join();
    unlink(path_.c_str());
  }
  CriServer(const CriServer&) = delete;
  CriServer& operator=(const CriServer&) = delete;

  bool good() const { return good_; }
  int calls() const { return calls_; }

 private:
  enum Frame : std::uint8_t { kData = 0, kHeaders = 1, kSettings = 4 };
  static constexpr std::uint8_t kEndStream = 1, kEndHeaders = 4, kAck = 1;
  static constexpr std::size_t kPreface = 24, kHead = 9;

  static std::string frame(Frame type, std::uint8_t flags, std::uint32_t stream, const std::string& content) {
    std::string head;
    for (int shift = 16; shift >= 0; shift -= 8) head += static_cast<char>(content.size() >> shift & 0xff);
    head += static_cast<char>(type);
    head += static_cast<char>(flags);
    for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(stream >> shift & 0xff);
    return head + content;
  }
  static std::string field(const std::string& name, const std::string& value) {
    return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
  }

  bool readable(int fd) const {
    pollfd one{fd, POLLIN, 0};
    while (!stop_)
      if (poll(&one, 1, 20) > 0) return true;
    return false;
  }

  void run() {
    while (readable(listener_.get())) {
      const Descriptor peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve(peer.get());
    }
  }

  // Until the client goes away.
  void serve(int peer) {
    std::string in;
    char bytes[4096];
    bool greeted = false;
    while (readable(peer)) {
      const ssize_t got = read(peer, bytes, sizeof(bytes));
      if (got <= 0) return;
      in.append(bytes, static_cast<std::size_t>(got));
      if (!greeted && in.size() >= kPreface) {
        in.erase(0, kPreface);
        greeted = true;
        send(peer, frame(kSettings, 0, 0, ""));
      }
      while (greeted && in.size() >= kHead) {
        const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<std::uint8_t>(in[at])); };
        const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
        if (in.size() < kHead + length) break;
        const std::uint32_t stream = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
        const std::uint32_t type = byte(3), flags = byte(4);
        in.erase(0, kHead + length);
        if (type == kSettings && !(flags & kAck)) send(peer, frame(kSettings, kAck, 0, ""));
        if (type == kData && (flags & kEndStream) && !reply(peer, stream)) return;
      }
    }
  }

  bool reply(int peer, std::uint32_t stream) {
    const CriAnswer answer = answer_(calls_++);
    if (!answer.raw.empty()) {
      send(peer, answer.raw);
      return false;
    }
    const std::string ok(1, '\x88');  // :status 200, of the static table
    send(peer, frame(kHeaders, kEndHeaders, stream, ok + field("content-type", "application/grpc")) +
                   frame(kData, 0, stream, grpc_frame(answer.message)) +
                   frame(kHeaders, kEndHeaders | kEndStream, stream,
                         field("grpc-status", answer.status) + field("grpc-message", answer.why)));
    return true;
  }

  static void send(int peer, const std::string& bytes) { (void)::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  const std::string path_;
  const std::function<CriAnswer(int)> answer_;
  Descriptor listener_;
  bool good_ = false;
  std::atomic<bool> stop_ = false;
  std::atomic<int> calls_ = 0;
  std::thread thread_;
};

}  // namespace grantd::test
