// The metrics over HTTP, from maps that a datapath fills.
#include "agent/metrics/metrics_server.h"
#include "tests/kernel/private_node.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace grantd {
namespace {

using testing::HasSubstr;

// The whole answer to one request; "" where nobody listens. A client of its own, so that the server's
// library does not only talk to itself.
std::string get(int family, int port, const std::string& path) {
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
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
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
    EXPECT_THAT(get(family, port, "/"), HasSubstr("404"));
    EXPECT_THAT(get(family, port, "/metrics/"), HasSubstr("404"));
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
  EXPECT_THAT(text, HasSubstr("grantd_quarantined_endpoints 1\n"));
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
