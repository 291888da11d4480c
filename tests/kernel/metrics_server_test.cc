// The metrics over HTTP, from maps that a datapath fills.
#include "agent/metrics/metrics_server.h"
#include "tests/kernel/private_node.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

namespace grantd {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// The whole answer to one request; "" where nobody listens. A client of its own, so that the server's
// library does not only talk to itself.
std::string get(int family, int port, const std::string& path, const std::string& header = "") {
  const Descriptor client(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in);
  if (family == AF_INET) {
    auto* ipv4 = reinterpret_cast<sockaddr_in*>(&address);
    *ipv4 = {AF_INET, htons(static_cast<std::uint16_t>(port)), {htonl(INADDR_LOOPBACK)}, {}};
  } else {
    auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&address);
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons(static_cast<std::uint16_t>(port));
    ipv6->sin6_addr = in6addr_loopback;
    length = sizeof(sockaddr_in6);
  }
  if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return "";
  const timeval most_wait{5, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &most_wait, sizeof(most_wait));
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: node\r\nConnection: close\r\n" + header + "\r\n";
  if (write(client.get(), request.data(), request.size()) != static_cast<ssize_t>(request.size())) return "";
  std::string answer;
  char part[65536];
  for (ssize_t got; (got = read(client.get(), part, sizeof(part))) > 0;)
    answer.append(part, static_cast<std::size_t>(got));
  return answer;
}

TEST(MetricsServer, ServesCountersOfTheMapsAndTheAgentsStatus) {
  PrivateNode node;
  for (const auto& [listen, family] : {std::pair{"127.0.0.1:0", AF_INET}, std::pair{"[::1]:0", AF_INET6}}) {
    auto server = MetricsServer::start(listen, node.pin_root());
    ASSERT_TRUE(server.ok()) << server.error().message;
    const int port = server.value()->port();
    EXPECT_THAT(get(family, port, "/healthz"), HasSubstr("200 OK"));
    EXPECT_THAT(get(family, port, "/readyz"), HasSubstr("503"));
    AgentStatus status;
    status.ready = true;
    server.value()->publish(status);
    EXPECT_THAT(get(family, port, "/readyz"), HasSubstr("200 OK"));
    status.chain = {.in_place = false, .restored = 0};
    server.value()->publish(status);
    EXPECT_THAT(get(family, port, "/readyz"),
                AllOf(HasSubstr("503"), HasSubstr("grantd-cni is not in the node's chain")));
    status.chain->in_place = true;
    server.value()->publish(status);
    EXPECT_THAT(get(family, port, "/readyz"), HasSubstr("200 OK"));
    EXPECT_THAT(get(family, port, "/"), HasSubstr("404"));
    EXPECT_THAT(get(family, port, "/metrics/"), HasSubstr("404"));
  }
}

// It answers in threads of its own, which go on while the agent's loop hangs.
TEST(MetricsServer, AnAgentWhoseLoopHangsIsNotHealthy) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root(), std::chrono::seconds(1));
  ASSERT_TRUE(server.ok()) << server.error().message;
  const int port = server.value()->port();
  EXPECT_THAT(get(AF_INET, port, "/healthz"), AllOf(HasSubstr("200 OK"), HasSubstr("turned 0.")));
  for (int times = 0; times < 2; times++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    EXPECT_THAT(get(AF_INET, port, "/healthz"), AllOf(HasSubstr("503"), HasSubstr("has not turned for 1.")));
    server.value()->publish({});
    EXPECT_THAT(get(AF_INET, port, "/healthz"), HasSubstr("503"));
    server.value()->turned();
    EXPECT_THAT(get(AF_INET, port, "/healthz"), HasSubstr("200 OK"));
  }
}

TEST(MetricsServer, ARefusedPacketIsCountedUnderItsReason) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_FALSE(node.send("bob-web", "8.8.8.8", {Protocol::Tcp, 443}));
  EXPECT_TRUE(node.send("bob-web", "203.0.113.7", {Protocol::Tcp, 443}));
  EXPECT_FALSE(node.send("orphan", "203.0.113.7", {Protocol::Tcp, 443}));
  const std::string text = get(AF_INET, server.value()->port(), "/metrics");
  const std::string bob = "{grant=\"keystone-system/bob\",grantor=\"alice-home\",grantee=\"bob-home\",direction=";
  EXPECT_THAT(text, HasSubstr("grantd_violations_total" + bob + "\"egress\",reason=\"destination\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_packets_total" + bob + "\"egress\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_bandwidth_limit_bytes_per_second" + bob + "\"egress\"} 1250000\n"));
  EXPECT_THAT(text, HasSubstr("grantd_violations_total{grant=\"(quarantine)\""));
  EXPECT_THAT(text, HasSubstr("grantd_quarantined_endpoints 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_grant_phase{grant=\"keystone-system/carol\",phase=\"Expired\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_map_entries{map=\"grantd_flow\"} 1\n"));
}

TEST(MetricsServer, WhatItCannotServeItSaysAtTheStart) {
  PrivateNode node;
  auto first = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(first.ok());
  const std::string taken = "127.0.0.1:" + std::to_string(first.value()->port());
  EXPECT_FALSE(MetricsServer::start(taken, node.pin_root()).ok()) << "the port is taken";
  EXPECT_FALSE(MetricsServer::start("192.0.2.1:0", node.pin_root()).ok()) << "no address of this node";
  EXPECT_FALSE(MetricsServer::start("localhost:0", node.pin_root()).ok()) << "a name is no address";
  EXPECT_FALSE(MetricsServer::start("127.0.0.1:0", "/nowhere").ok());
}

Descriptor connected(int port, const char* from, int flags = 0) {
  Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, from, &address.sin_addr);
  if (bind(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return Descriptor();
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 && errno != EINPROGRESS)
    return Descriptor();
  return client;
}

// A hundred that send a letter whenever they are asked for one more, and come back when they are thrown out.
TEST(MetricsServer, SlowClientsDoNotKeepOthersFromHealth) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(server.ok()) << server.error().message;
  const int port = server.value()->port();
  std::atomic<bool> ends = false;
  std::atomic<int> begun = 0;
  std::thread crowd([&] {
    std::vector<Descriptor> slow(100);
    while (!ends) {
      for (Descriptor& each : slow) {
        if (each.valid() && send(each.get(), "G", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) continue;
        each = connected(port, "127.0.0.2", SOCK_NONBLOCK);
        begun += each.valid();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  while (begun < 100) std::this_thread::yield();
  int late = 0;
  for (int asked = 0; asked < 20; asked++) {
    const auto before = std::chrono::steady_clock::now();
    EXPECT_THAT(get(AF_INET, port, "/healthz"), HasSubstr("200 OK")) << asked;
    // What a probe of Kubernetes waits for by default.
    late += std::chrono::steady_clock::now() - before >= std::chrono::seconds(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_LE(late, 1) << "of 20: the machine may be busy";
  EXPECT_GT(begun, 300) << "the slow ones were let be: nothing was tried";
  ends = true;
  crowd.join();
}

TEST(MetricsServer, ARequestWithoutEndIsCut) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(server.ok()) << server.error().message;
  const Descriptor client = connected(server.value()->port(), "127.0.0.1");
  ASSERT_TRUE(client.valid());
  const std::string part(65536, 'a');
  std::size_t sent = 0;
  ASSERT_EQ(send(client.get(), "GET /", 5, MSG_NOSIGNAL), 5);
  for (ssize_t got; sent < (64U << 20) && (got = send(client.get(), part.data(), part.size(), MSG_NOSIGNAL)) > 0;)
    sent += static_cast<std::size_t>(got);
  EXPECT_LT(sent, 64U << 20);
  EXPECT_THAT(get(AF_INET, server.value()->port(), "/healthz"), HasSubstr("200 OK"));
}

// The library would copy the answer for each of them.
TEST(MetricsServer, PartsOfAnAnswerAreNotToBeHad) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(server.ok()) << server.error().message;
  std::string many = "Range: bytes=0-";
  while (many.size() < 8000) many += ",0-";
  for (const std::string& range : {std::string("Range: bytes=0-99"), many}) {
    const std::string text = get(AF_INET, server.value()->port(), "/metrics", range + "\r\n");
    EXPECT_THAT(text, AllOf(HasSubstr("HTTP/1.1 200 OK"), HasSubstr("grantd_build_info"), Not(HasSubstr("multipart"))));
    EXPECT_LT(text.size(), 200'000U);
  }
}

// Arrays are never full, and of what the kernel forgets by itself only flows and fragments are anybody's trouble.
TEST(MetricsServer, TellsTheFillOfEachMapThatCanBeFull) {
  PrivateNode node;
  auto server = MetricsServer::start("127.0.0.1:0", node.pin_root());
  ASSERT_TRUE(server.ok()) << server.error().message;
  const std::string text = get(AF_INET, server.value()->port(), "/metrics");
  int tables = 0;
  for (const std::string& name : map_names()) {
    const Descriptor map(bpf_obj_get(map_pin(node.pin_root(), name).c_str()));
    bpf_map_info info{};
    __u32 length = sizeof(info);
    ASSERT_EQ(bpf_obj_get_info_by_fd(map.get(), &info, &length), 0) << name;
    if (info.type != BPF_MAP_TYPE_HASH && info.type != BPF_MAP_TYPE_LPM_TRIE && info.type != BPF_MAP_TYPE_DEVMAP_HASH)
      continue;
    EXPECT_THAT(text,
                HasSubstr("grantd_map_max_entries{map=\"" + name + "\"} " + std::to_string(info.max_entries) + "\n"));
    tables++;
  }
  EXPECT_GT(tables, 10);
}

}  // namespace
}  // namespace grantd
