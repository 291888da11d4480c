// The HTTP server under /metrics: the library's, but no client, however slow, holds it from others.
#pragma once

#include <httplib.h>

#include <list>
#include <map>
#include <mutex>
#include <string>

namespace grantd {

// Serves one request for each connection and closes it. All of a request has to come within a second and 16 KiB, all
// of the answer to be taken within ten. While 32 of the 64 threads serve, a client (an IPv4 address, an IPv6 /64) that
// has eight of them loses its oldest connection to its newest: those who hold theirs leave room for others, and even
// one with the same address, who does not hold them, is served.
class HttpServer : public httplib::Server {
 public:
  HttpServer();

  // After binding: the library lets five connections wait to be accepted, and a sixth has to ask again a second later.
  void let_more_wait();
  // Where nobody will serve: the library's destructor leaves the port taken.
  void let_go_of_port();

 private:
  bool process_and_close_socket(socket_t socket) override;

  std::mutex mutex_;
  std::map<std::string, std::list<socket_t>> served_;  // connections of each client, the oldest first
  int all_served_ = 0;
};

}  // namespace grantd
