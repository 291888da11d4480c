// What the kernel tells of interfaces, and when it tells that they changed.
#include "agent/node/interfaces.h"
#include "agent/node/local_routes.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace grantd::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::UnorderedElementsAre;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

// The interfaces that a test makes go away with it.
class Interfaces : public testing::Test {
 protected:
  ~Interfaces() override {
    for (const std::string& each : made_) run("ip link del " + each + " 2>/dev/null");
    run("ip netns del kt-far 2>/dev/null; ip netns del kt-further 2>/dev/null");
  }

  void make(const std::string& name, const std::string& rest) {
    ASSERT_TRUE(run("ip link add " + name + " " + rest)) << name;
    made_.push_back(name);
  }

  static InterfaceFact fact(const std::string& name) {
    auto read = read_interfaces();
    EXPECT_TRUE(read) << read.error().message;
    if (!read) return {};
    const auto found = std::find_if(read.value().begin(), read.value().end(),
                                    [&](const InterfaceFact& each) { return each.name == name; });
    EXPECT_NE(found, read.value().end()) << name;
    return found == read.value().end() ? InterfaceFact{} : *found;
  }

 private:
  std::vector<std::string> made_;
};

TEST_F(Interfaces, NamesIndexesAndMacs) {
  make("kt0", "address 02:00:00:00:00:01 type veth peer name kt1 address 02:00:00:00:00:02");
  const InterfaceFact host = fact("kt0");
  EXPECT_EQ(host.ifindex, index_of("kt0"));
  EXPECT_EQ(host.mac, mac("02:00:00:00:00:01"));
  EXPECT_EQ(host.peer_mac, mac("02:00:00:00:00:02"));
  EXPECT_FALSE(host.layer3);
  EXPECT_FALSE(host.loopback);
  EXPECT_FALSE(host.tunnel);
  EXPECT_EQ(host.master, 0U);
  EXPECT_TRUE(fact("lo").loopback);
  EXPECT_FALSE(fact("lo").tunnel);
}

TEST_F(Interfaces, TheOtherEndsInOtherNamespacesEachHaveTheirMac) {
  // The ends of one number have one index, each in its own namespace.
  const std::string namespaces[] = {"kt-far", "kt-further"};
  for (const std::string& each : namespaces) ASSERT_TRUE(run("ip netns add " + each));
  for (const std::string which : {"0", "1"})
    for (const std::string number : {"1", "2"})
      make("kt" + which + number, "type veth peer name eth" + number + " netns " + namespaces[which == "1"] +
                                      " address 02:00:00:00:0" + which + ":0" + number);
  EXPECT_EQ(fact("kt01").peer_mac, mac("02:00:00:00:00:01"));
  EXPECT_EQ(fact("kt02").peer_mac, mac("02:00:00:00:00:02"));
  EXPECT_EQ(fact("kt11").peer_mac, mac("02:00:00:00:01:01"));
  EXPECT_EQ(fact("kt12").peer_mac, mac("02:00:00:00:01:02"));
  ASSERT_TRUE(run("ip -n kt-further link set eth2 address 02:00:00:00:00:22"));
  EXPECT_EQ(fact("kt12").peer_mac, mac("02:00:00:00:00:22"));
}

TEST_F(Interfaces, WhatIsNoPairHasNoOtherEnd) {
  make("kt0", "type veth peer name kt1");
  EXPECT_NE(fact("kt0").peer_mac, std::nullopt);
  make("kt-on", "link kt0 type macvlan");
  EXPECT_EQ(fact("kt-on").peer_mac, std::nullopt);
}

TEST_F(Interfaces, AddressesByScope) {
  make("kt0", "type veth peer name kt1");
  ASSERT_TRUE(
      run("ip link set kt0 up && ip addr add 192.0.2.1/24 dev kt0 && "
          "ip addr add 2001:db8::1/64 dev kt0 nodad && ip addr add fe80::77/64 dev kt0 nodad"));
  const InterfaceFact host = fact("kt0");
  EXPECT_THAT(host.addresses, UnorderedElementsAre(address("192.0.2.1"), address("2001:db8::1")));
  EXPECT_THAT(host.link_local, Contains(address("fe80::77")));
}

TEST_F(Interfaces, LoopbackTellsOnlyWhatOthersReach) {
  ASSERT_TRUE(run("ip addr add 203.0.113.9/32 dev lo"));
  EXPECT_THAT(fact("lo").addresses, ElementsAre(address("203.0.113.9")));
  ASSERT_TRUE(run("ip addr del 203.0.113.9/32 dev lo"));
}

TEST_F(Interfaces, APointToPointAddressIsTheNearOne) {
  make("kt0", "type veth peer name kt1");
  ASSERT_TRUE(run("ip addr add 192.0.2.1 peer 192.0.2.2 dev kt0"));
  EXPECT_THAT(fact("kt0").addresses, ElementsAre(address("192.0.2.1")));
}

TEST_F(Interfaces, WhatIsDeliveredToThisNodeIsMoreThanItsAddresses) {
  make("kt0", "type veth peer name kt1");
  ASSERT_TRUE(
      run("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip link set kt0 up && ip link set kt1 up && "
          "ip addr add 192.0.2.1/24 brd + dev kt0 && ip addr add 198.51.100.4/31 dev kt0 && "
          "ip addr add 2001:db8::1/64 dev kt0 nodad && ip route add local 203.0.113.64/26 dev lo && "
          "ip route add 203.0.113.128/26 dev kt0 && ip route add local 203.0.113.192/26 dev lo table 77"));
  const auto prefix = [](const char* text) { return IpPrefix::parse(text).value(); };
  auto read = read_local_routes();
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(read.value(),
              UnorderedElementsAre(prefix("192.0.2.1/32"), prefix("192.0.2.255/32"), prefix("198.51.100.4/32"),
                                   prefix("203.0.113.64/26"), prefix("2001:db8::/128"), prefix("2001:db8::1/128")));
  ASSERT_TRUE(run("ip route del local 203.0.113.64/26 dev lo && ip route del local 203.0.113.192/26 dev lo table 77"));
}

TEST_F(Interfaces, APortHasItsBridgeAsMasterAndItsLinkLocalAddresses) {
  make("kt0", "type veth peer name kt1");
  if (!run("ip link add kt-br type bridge 2>/dev/null")) GTEST_SKIP() << "this kernel has no bridge";
  ASSERT_TRUE(run("ip link set kt-br up && ip addr add fe80::b/64 dev kt-br nodad && ip link set kt0 master kt-br"));
  const InterfaceFact port = fact("kt0");
  EXPECT_EQ(port.master, index_of("kt-br"));
  EXPECT_THAT(port.link_local, Contains(address("fe80::b")));
  EXPECT_THAT(fact("kt1").link_local, Not(Contains(address("fe80::b"))));
  ASSERT_TRUE(run("ip link del kt-br"));
}

TEST_F(Interfaces, ATunDecapsulatesAndATapDoesNot) {
  if (!run("ip tuntap add kt-tun mode tun 2>/dev/null")) GTEST_SKIP() << "this kernel has no tun";
  ASSERT_TRUE(run("ip tuntap add kt-tap mode tap"));
  EXPECT_TRUE(fact("kt-tun").layer3);
  EXPECT_TRUE(fact("kt-tun").tunnel);
  EXPECT_FALSE(fact("kt-tap").layer3);
  EXPECT_FALSE(fact("kt-tap").tunnel);
  ASSERT_TRUE(run("ip link del kt-tun && ip link del kt-tap"));
}

TEST_F(Interfaces, TunnelsOfEveryKindThatThisKernelHas) {
  const struct {
    const char* rest;
    bool layer3;
  } kinds[] = {{"vxlan id 7 dstport 4789", false},
               {"geneve id 7 remote 192.0.2.9", false},
               {"gretap remote 192.0.2.9 local 192.0.2.8", false},
               {"wireguard", true},
               {"gre remote 192.0.2.9 local 192.0.2.8", true},
               {"ipip remote 192.0.2.9 local 192.0.2.8", true},
               {"sit remote 192.0.2.9 local 192.0.2.8", true}};
  int tried = 0;
  for (const auto& kind : kinds) {
    if (!run(std::string("ip link add kt-t type ") + kind.rest + " 2>/dev/null")) continue;
    EXPECT_TRUE(fact("kt-t").tunnel) << kind.rest;
    EXPECT_EQ(fact("kt-t").layer3, kind.layer3) << kind.rest;
    ASSERT_TRUE(run("ip link del kt-t"));
    tried++;
  }
  if (tried == 0) GTEST_SKIP() << "this kernel has no tunnels";
}

// Its interface has no kind.
TEST_F(Interfaces, AnEthernetTunnelOfL2tpIsOne) {
  if (!run("ip l2tp add tunnel tunnel_id 7 peer_tunnel_id 7 encap udp local 127.0.0.1 remote 127.0.0.2 udp_sport 1701 "
           "udp_dport 1702 2>/dev/null"))
    GTEST_SKIP() << "this kernel has no L2TP";
  if (run("ip l2tp add session name kt-l2tp tunnel_id 7 session_id 1 peer_session_id 1")) {
    EXPECT_TRUE(fact("kt-l2tp").tunnel);
    EXPECT_FALSE(fact("kt-l2tp").layer3);
  } else {
    ADD_FAILURE() << "no session";
  }
  ASSERT_TRUE(run("ip l2tp del tunnel tunnel_id 7"));
}

// The machine's own, which are of no kind either; only read. Who started this test is still there.
TEST_F(Interfaces, WhatIsOnAWireIsNoTunnel) {
  int tried = 0;
  in_machines_netns([&] {
    std::istringstream lines(output_of("ip -o -details link show"));
    for (std::string line; std::getline(lines, line);) {
      if (line.find("link/ether") == line.npos || line.find(" parentdev ") == line.npos) continue;
      std::istringstream words(line);
      std::string number, name;
      words >> number >> name;
      name = name.substr(0, name.find_first_of("@:"));
      EXPECT_FALSE(fact(name).tunnel) << name;
      tried++;
    }
  });
  if (tried == 0) GTEST_SKIP() << "this machine has no such interface";
}

class Watch : public Interfaces {
 protected:
  void SetUp() override {
    auto opened = InterfaceWatch::open();
    ASSERT_TRUE(opened) << opened.error().message;
    watch = std::move(opened).value();
  }
  bool tells(const std::string& command) {
    while (told()) watch.drain();
    EXPECT_TRUE(run(command)) << command;
    const bool changed = told() && watch.drain();
    EXPECT_FALSE(watch.drain()) << "is drained";
    return changed;
  }
  bool told(int milliseconds = 20) {
    pollfd readable{watch.fd(), POLLIN, 0};
    return poll(&readable, 1, milliseconds) == 1;
  }
  InterfaceWatch watch;
};

TEST_F(Watch, TellsWhatComesGoesAndChanges) {
  EXPECT_FALSE(tells("true"));
  EXPECT_TRUE(tells("ip link add kt0 type veth peer name kt1"));
  EXPECT_TRUE(tells("ip link set kt0 up"));
  EXPECT_TRUE(tells("ip addr add 192.0.2.1/24 dev kt0"));
  EXPECT_TRUE(tells("ip addr add 2001:db8::1/64 dev kt0 nodad"));
  EXPECT_TRUE(tells("ip addr del 192.0.2.1/24 dev kt0"));
  EXPECT_TRUE(tells("ip link set kt0 address 02:00:00:00:00:01"));
  EXPECT_TRUE(tells("ip link del kt0"));
  EXPECT_FALSE(tells("ip route add 198.51.100.0/24 dev lo"));
  ASSERT_TRUE(run("ip route del 198.51.100.0/24 dev lo"));
  EXPECT_TRUE(tells("ip route add local 203.0.113.64/26 dev lo"));
  EXPECT_TRUE(tells("ip route del local 203.0.113.64/26 dev lo"));
}

TEST_F(Watch, TellsWhichEndedAndNotWhichOnlyWentElsewhere) {
  make("kt0", "type veth peer name kt1");
  const auto first = fact("kt0").ifindex, second = fact("kt1").ifindex;
  ASSERT_TRUE(tells("ip netns add kt-far && ip link set kt1 netns kt-far"));
  EXPECT_THAT(watch.take_gone(), testing::IsEmpty());
  ASSERT_TRUE(tells("ip link del kt0"));
  EXPECT_THAT(watch.take_gone(), AllOf(Contains(first), Not(Contains(second))));
  EXPECT_THAT(watch.take_gone(), testing::IsEmpty());
}

TEST_F(Watch, TellsThatHooksAndQueuesAreGoneAndWhatMayStandBeforeOurs) {
  make("kt0", "type veth peer name kt1");
  EXPECT_FALSE(tells("tc qdisc add dev kt0 root pfifo"));
  EXPECT_TRUE(tells("tc qdisc del dev kt0 root"));
  EXPECT_FALSE(tells("tc qdisc add dev kt0 clsact"));
  const std::string filter = " bpf bytecode '1,6 0 0 0'";
  ASSERT_TRUE(run("tc filter add dev kt0 ingress prio 3" + filter)) << "the first one makes a chain, which is told too";
  EXPECT_FALSE(tells("tc filter add dev kt0 ingress prio 2" + filter));
  EXPECT_TRUE(tells("tc filter add dev kt0 ingress prio 1" + filter));
  EXPECT_TRUE(tells("tc filter del dev kt0 ingress prio 2"));
  EXPECT_TRUE(tells("tc qdisc del dev kt0 clsact"));
}

TEST_F(Watch, ABridgesNewsOfItsPortsIsNoChange) {
  make("kt0", "type veth peer name kt1");
  if (!run("ip link add kt-br type bridge 2>/dev/null")) GTEST_SKIP() << "this kernel has no bridge";
  EXPECT_TRUE(tells("ip link set kt-br up && ip link set kt0 up && ip link set kt0 master kt-br"));
  while (told(1500)) watch.drain();  // of carriers the kernel tells as much as a second later
  EXPECT_FALSE(tells("bridge link set dev kt0 learning off"));
  EXPECT_TRUE(tells("ip link set kt0 nomaster"));
  ASSERT_TRUE(run("ip link del kt-br"));
}

TEST_F(Watch, WhatOverflowedMayHaveBeenAnything) {
  while (told()) watch.drain();
  std::string batch = "{";
  for (int number = 0; number < 3000; number++)
    batch += " echo link set lo mtu " + std::to_string(60000 + number) + ";";
  ASSERT_TRUE(run(batch + " echo link set lo mtu 65536; } | ip -batch -"));
  EXPECT_TRUE(watch.drain());
  EXPECT_FALSE(watch.drain());
}

}  // namespace
}  // namespace grantd::test
