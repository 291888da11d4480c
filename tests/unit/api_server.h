// An API server of the test's own, in threads: real TCP and TLS, and answers as bad as a test wants them.
#pragma once

#include "tests/unit/temporary_directory.h"

#include <httplib.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace grantd {

// A CA, a certificate of it for 127.0.0.1 and one for a client; another CA of the same name.
class TestPki {
 public:
  TestPki() {
    folder_.write("server.ext", "subjectAltName=IP:127.0.0.1\n");
    folder_.write("client.ext", "extendedKeyUsage=clientAuth\n");
    for (const char* ca : {"ca", "other-ca"})
      run("req -x509 " + key(ca) + " -subj /CN=test-ca -days 2 -out " + ca + ".crt");
    for (const std::string name : {"server", "client"}) {
      run("req " + key(name) + " -subj /CN=" + name + " -out " + name + ".csr");
      run("x509 -req -in " + name + ".csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile " + name +
          ".ext -out " + name + ".crt");
    }
  }
  std::string path(const std::string& name) const { return folder_.path(name); }

 private:
  static std::string key(const std::string& name) {
    return "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + name + ".key";
  }
  void run(const std::string& command) const {
    EXPECT_EQ(std::system(("cd '" + folder_.path() + "' && openssl " + command + " 2>openssl.log").c_str()), 0)
        << command;
  }
  TemporaryDirectory folder_;
};

// An answer that the test writes piece by piece.
class TestStream {
 public:
  void write(std::string text) {
    change([&] { text_ += text; });
  }
  void finish() {
    change([this] { state_ = State::Finished; });
  }  // with a proper end
  void cut() {
    change([this] { state_ = State::Cut; });
  }  // without

  void serve(httplib::Response& response) {
    response.set_chunked_content_provider("application/json", [this](std::size_t, httplib::DataSink& sink) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !text_.empty() || state_ != State::Open; });
      if (!text_.empty()) {
        const std::string text = std::exchange(text_, "");
        lock.unlock();
        return sink.write(text.data(), text.size());
      }
      if (state_ == State::Finished) sink.done();
      return state_ == State::Finished;
    });
  }

 private:
  enum class State { Open, Finished, Cut };
  template <typename Change>
  void change(const Change& change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  State state_ = State::Open;
};

// Answers every request by one function, which may be another for each test.
class TestApiServer {
 public:
  using Handler = std::function<void(const httplib::Request&, httplib::Response&)>;

  TestApiServer(const TestPki& pki, Handler handler, bool wants_client = false)
      : server_(pki.path("server.crt").c_str(), pki.path("server.key").c_str(),
                wants_client ? pki.path("ca.crt").c_str() : nullptr) {
    server_.Get(".*", handler);
    server_.Post(".*", handler);
    server_.Patch(".*", handler);
    server_.set_keep_alive_timeout(1);
    server_.set_tcp_nodelay(true);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~TestApiServer() {
    server_.stop();
    thread_.join();
  }
  TestApiServer(const TestApiServer&) = delete;
  TestApiServer& operator=(const TestApiServer&) = delete;

  int port() const { return port_; }
  std::string url(const std::string& host = "127.0.0.1") const {
    return "https://" + host + ":" + std::to_string(port_);
  }

 private:
  httplib::SSLServer server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace grantd
