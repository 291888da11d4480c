// Frames over a real pair of interfaces, for what BPF_PROG_TEST_RUN cannot give a packet: a checksum that is still to
// be written (rule 1), a VLAN tag that the kernel has taken out, headers outside of the linear part, a way into the
// queues.
#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"
#include "tests/prog/fixture.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

namespace grantd::prog {
namespace {

constexpr std::uint16_t kL4 = 14 + 20, kL4v6 = 14 + 40;

// linux/virtio_net.h, which is no C++.
struct VirtioHeader {
  std::uint8_t flags = 0;  // 1: the checksum is still to be written
  std::uint8_t gso_type = 0;
  std::uint16_t header_bytes = 0, gso_size = 0, csum_start = 0, csum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

std::string far_end(const std::string& interface) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(popen(("ip -o link show " + interface).c_str(), "r"), pclose);
  char line[512] = {};
  if (!file || !std::fgets(line, sizeof(line), file.get())) throw std::runtime_error("ip link show " + interface);
  // "7: veth-web@far3: <...": the name of the other end.
  const std::string text = line;
  const auto at = text.find('@'), end = text.find(':', at);
  if (at == std::string::npos || end == std::string::npos) throw std::runtime_error(text);
  return text.substr(at + 1, end - at - 1);
}

class PacketSocket {
 public:
  explicit PacketSocket(const std::string& interface)
      : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    const int on = 1;
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (fd_ < 0 || setsockopt(fd_, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) != 0 ||
        bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof(at)) != 0)
      throw std::runtime_error("packet socket on " + interface + ": " + std::strerror(errno));
  }
  ~PacketSocket() { close(fd_); }
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  void send(const VirtioHeader& header, const Bytes& frame) {
    Bytes all(sizeof(header));
    std::memcpy(all.data(), &header, sizeof(header));
    all = all + frame;
    if (::send(fd_, all.data(), all.size(), 0) != static_cast<ssize_t>(all.size()))
      throw std::runtime_error(std::string("send: ") + std::strerror(errno));
  }
  // Whether a frame that ends in `payload` comes.
  bool receives(const Bytes& payload, int wait_ms) {
    for (const BootNanoseconds begin = boot_now();;) {
      const auto left = wait_ms - static_cast<int>((boot_now() - begin) / 1'000'000);
      pollfd ready{fd_, POLLIN, 0};
      if (left <= 0 || poll(&ready, 1, left) != 1) return false;
      Bytes all(65536);
      sockaddr_ll from{};
      socklen_t bytes = sizeof(from);
      const auto got = recvfrom(fd_, all.data(), all.size(), 0, reinterpret_cast<sockaddr*>(&from), &bytes);
      if (got < static_cast<ssize_t>(payload.size()) || from.sll_pkttype == PACKET_OUTGOING) continue;
      if (std::equal(payload.rbegin(), payload.rend(), all.rbegin() + (static_cast<ssize_t>(all.size()) - got)))
        return true;
    }
  }

 private:
  int fd_;
};

class Wire : public Prog {
 protected:
  void SetUp() override {
    std::ofstream("/proc/sys/net/ipv6/conf/all/disable_ipv6") << 1;  // nothing that the kernel itself has to say
    for (const std::string& end :
         {std::string("veth-web"), std::string("veth-slow"), std::string("tail0"), std::string("uplink0")})
      for (const std::string& each : {end, far_end(end)})
        ASSERT_EQ(std::system(("ip link set " + each + " up mtu 9000 addrgenmode none").c_str()), 0);
    guest_ = std::make_unique<PacketSocket>(far_end("veth-web"));
    port_ = fresh_port();
  }
  // The reason that a guest's frame is counted under.
  std::string sent(const Bytes& frame, const VirtioHeader& header = {}) {
    return sent_by(*guest_, GRANTD_EGRESS, frame, header);
  }
  std::string sent_by(PacketSocket& sender, grantd_direction direction, const Bytes& frame,
                      const VirtioHeader& header = {}) {
    const auto slot = slot_of("bob");
    const auto before = node().maps().counters(slot).value();
    sender.send(header, frame);
    for (const BootNanoseconds begin = boot_now(); boot_now() - begin < 20 * GRANTD_NS_PER_SECOND; usleep(200)) {
      const auto after = node().maps().counters(slot).value();
      for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
        const std::size_t at = GRANTD_COUNTER_INDEX(direction, reason);
        if (after[at].packets != before[at].packets) return reason_label(reason);
      }
    }
    return "none";
  }
  static VirtioHeader left_to_do(std::size_t start, std::size_t field) {
    VirtioHeader header;
    header.flags = 1;
    header.csum_start = static_cast<std::uint16_t>(start);
    header.csum_offset = static_cast<std::uint16_t>(field - start);
    return header;
  }

  std::unique_ptr<PacketSocket> guest_;
  std::uint16_t port_ = 0;
};

TEST_F(Wire, AChecksumIsWrittenWhereItBelongsAlone) {
  struct Case {
    const char* name;
    Bytes frame;
    std::size_t start, field;
    const char* reason;
  };
  const Bytes syn = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn, 32)),
              syn6 = frame_out(kWeb6, kBob6, kTcp, tcp(port_, 80, kSyn, 32)),
              datagram = frame_out(kWeb4, kBob4, kUdp, udp(port_, 53, 40)),
              datagram6 = frame_out(kWeb6, kBob6, kUdp, udp(port_, 53, 40)),
              init = frame_out(kWeb4, kBob4, kSctp, sctp(port_, 80) + zeros(32)),
              echo = frame_out(kWeb4, kBob4, kIcmp4, icmp(8, 0, port_, zeros(32))),
              question = ethernet("ff:ff:ff:ff:ff:ff", kGuestMac, 0x0806,
                                  arp(1, kGuestMac, kWeb4, "00:00:00:00:00:00", "10.20.0.1"));
  const Bytes fragment =
      ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, kUdp, port_, 0x2000, {}}, udp(port_, 53, 40)));
  const Case cases[] = {
      {"TCP", syn, kL4, kL4 + 16, "new_flow"},
      {"TCP in IPv6", syn6, kL4v6, kL4v6 + 16, "new_flow"},
      {"TCP, beside its own", syn, kL4, kL4 + 14, "malformed"},
      {"TCP, behind its own", syn, kL4, kL4 + 18, "malformed"},
      {"TCP, its port", syn, kL4, kL4 + 2, "malformed"},
      {"TCP, from somewhere else", syn, kL4 - 2, kL4 + 16, "malformed"},
      {"TCP, from behind", syn, kL4 + 2, kL4 + 16, "malformed"},
      {"TCP, an address", syn, 20, 14 + 16, "malformed"},
      {"TCP, its payload", syn, kL4 + 20, kL4 + 24, "malformed"},
      {"UDP", datagram, kL4, kL4 + 6, "new_flow"},
      {"UDP in IPv6", datagram6, kL4v6, kL4v6 + 6, "new_flow"},
      {"UDP, its length", datagram, kL4, kL4 + 4, "malformed"},
      {"UDP, from somewhere else", datagram, kL4 - 2, kL4 + 6, "malformed"},
      {"UDP, of its payload's own", datagram, kL4 + 16, kL4 + 24, "established"},
      {"UDP, in its payload from its header on", datagram, kL4, kL4 + 24, "established"},
      {"UDP, its payload's first bytes", datagram, kL4 + 8, kL4 + 8, "established"},
      {"UDP, across the end of the header", datagram, kL4, kL4 + 7, "malformed"},
      {"UDP, its payload's last bytes", datagram, kL4 + 8, datagram.size() - 2, "established"},
      {"SCTP", init, kL4, kL4 + 8, "new_flow"},
      {"SCTP, its tag", init, kL4, kL4 + 4, "malformed"},
      {"SCTP, behind its own", init, kL4, kL4 + 12, "malformed"},
      {"SCTP, from somewhere else", init, kL4 + 2, kL4 + 8, "malformed"},
      {"ICMP", echo, kL4, kL4 + 2, "malformed"},
      {"ICMP, its payload", echo, kL4, kL4 + 16, "malformed"},
      {"a fragment", fragment, kL4, kL4 + 6, "malformed"},
      {"ARP", question, 20, 14 + 20, "malformed"},
  };
  for (const Case& each : cases) {
    port_ = fresh_port();
    EXPECT_EQ(sent(each.frame, left_to_do(each.start, each.field)), each.reason) << each.name;
  }
  // Nothing left to do: the same frames as they are.
  for (const auto& [frame, reason] :
       {std::pair{&echo, "new_flow"}, {&fragment, "established"}, {&question, "housekeeping"}, {&syn, "established"}})
    EXPECT_EQ(sent(*frame), reason);
}

TEST_F(Wire, ATagThatTheKernelTookOutIsOneAllTheSame) {
  const Bytes inner = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn));
  EXPECT_EQ(sent(inner), "new_flow");
  for (const std::uint16_t type : {std::uint16_t{0x8100}, std::uint16_t{0x88a8}})
    EXPECT_EQ(sent(ethernet(kFarMac, kGuestMac, type, Bytes{0, 5} + Bytes(inner.begin() + 12, inner.end()))),
              "vlan_tag");
}

// An uplink is believed without a tag alone: a piece of bob's datagram with one is not his.
TEST_F(Wire, WhatComesWithATagIsNobodys) {
  PacketSocket outside(far_end("uplink0"));
  const auto refused = [&] { return counter(0, GRANTD_INGRESS, GRANTD_REASON_NOBODY).packets; };
  const Bytes piece = frame_in(kBob4, kWeb4, kUdp, udp(port_, 53, 64));
  Bytes first = piece;
  first[14 + 6] = 0x20;
  const auto before = refused();
  outside.send({}, first);
  outside.send({}, piece);
  usleep(200'000);
  EXPECT_EQ(refused(), before) << "he sends it himself";
  outside.send({}, ethernet(kGuestMac, kFarMac, 0x8100, Bytes{0, 5} + Bytes(first.begin() + 12, first.end())));
  for (const BootNanoseconds begin = boot_now(); refused() == before; usleep(200))
    ASSERT_LT(boot_now() - begin, 20 * GRANTD_NS_PER_SECOND);
}

// Only so much of a frame is linear as its sender says.
TEST_F(Wire, HeadersOutsideOfTheLinearPartAreRead) {
  VirtioHeader short_one;
  short_one.header_bytes = 14;
  const auto padded = [](const Bytes& l4) { return l4 + zeros(8000); };
  const auto out = [&](std::uint8_t protocol, const Bytes& l4, const char* to = kBob4) {
    return frame_out(kWeb4, to, protocol, l4);
  };
  EXPECT_EQ(sent(out(kTcp, tcp(port_, 80, kSyn, 8000)), short_one), "new_flow");
  EXPECT_EQ(sent(out(kTcp, tcp(port_, 80, kAck, 8000)), short_one), "established");
  EXPECT_EQ(sent(out(kTcp, tcp(port_, 443, kSyn, 8000), kStranger4), short_one), "destination_port");
  EXPECT_EQ(sent(out(kUdp, udp(port_, 53, 8000)), short_one), "new_flow");
  EXPECT_EQ(sent(frame_out(kWeb6, kBob6, kTcp, tcp(port_, 80, kSyn, 8000)), short_one), "new_flow");
  EXPECT_EQ(sent(out(kSctp, padded(sctp(port_, 80))), short_one), "new_flow");
  EXPECT_EQ(sent(out(kIcmp4, padded(icmp(8, 0, port_))), short_one), "new_flow");
}

TEST_F(Wire, AFrameThatEndsInsideTheIpHeaderIsTooShort) {
  for (const Bytes& whole :
       {frame_out(kWeb4, kBob4, kUdp, udp(port_, 53)), frame_out(kWeb6, kBob6, kUdp, udp(port_, 53))}) {
    for (std::size_t bytes = 15; bytes < whole.size() - 8; bytes++)
      EXPECT_EQ(sent(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes))), "too_short") << bytes;
    EXPECT_EQ(sent(whole), "new_flow");
  }
}

// Only what is larger than its header can say may say nothing.
TEST_F(Wire, AsLargeAsAHeaderCanSayItIsToSaySo) {
  for (const std::string& end : {std::string("veth-web"), far_end("veth-web")})
    ASSERT_EQ(std::system(("ip link set " + end + " gso_max_size 131072").c_str()), 0);
  EXPECT_EQ(sent(frame_out(kWeb6, kBob6, kTcp, tcp(port_, 80, kSyn))), "new_flow");
  VirtioHeader cut_later = left_to_do(kL4v6, kL4v6 + 16);
  cut_later.gso_type = 4;  // TCP in IPv6
  cut_later.gso_size = 8000;
  cut_later.header_bytes = kL4v6 + 20;
  const auto large = [&](std::size_t bytes) { return frame_out(kWeb6, kBob6, kTcp, tcp(port_, 80, kAck, bytes - 20)); };
  Bytes largest = large(65535);
  EXPECT_EQ(sent(largest, cut_later), "established");
  largest[14 + 4] = largest[14 + 5] = 0;
  EXPECT_EQ(sent(largest, cut_later), "too_short") << "it does not say so";
  EXPECT_EQ(sent(large(65536), cut_later), "established") << "there is no room to";
}

// A copy has no socket, and has come in through no interface: as what the kernel answers for a socket that is gone.
TEST_F(Wire, WhatNoSocketSentFollowsAFlowOfTheNodesAndBeginsNone) {
  ASSERT_EQ(std::system("nft 'table netdev copies { chain out { type filter hook egress device uplink0 priority 0; "
                        "dup to veth-web; }; }'"),
            0);
  PacketSocket with_socket("veth-web"), without("uplink0");
  const auto segment = [&](const char* from, const char* to, std::uint8_t flags, std::size_t payload = 0) {
    return frame_in(from, to, kTcp, tcp(80, port_, flags, payload));
  };
  for (const auto& [from, to] : {std::pair{kNode4, kWeb4}, {"2001:db8:99::1", kWeb6}}) {
    port_ = fresh_port();
    EXPECT_EQ(sent_by(without, GRANTD_INGRESS, segment(from, to, kAck)), "nobody");
    EXPECT_EQ(sent_by(with_socket, GRANTD_INGRESS, segment(from, to, kAck)), "new_flow") << "what would begin one";
    EXPECT_EQ(sent_by(without, GRANTD_INGRESS, segment(from, to, kAck)), "established");
    EXPECT_EQ(sent_by(without, GRANTD_INGRESS, segment(from, to, kRst)), "established");
    EXPECT_EQ(sent_by(without, GRANTD_INGRESS, segment(from, to, kAck, 1)), "nobody") << "no bare one";
  }
  ASSERT_EQ(std::system("nft delete table netdev copies"), 0);
}

// From the hook into the interface with the queues.
TEST_F(Wire, WhatWaitsGoesIntoTheQueues) {
  const grantd_endpoint slow = endpoint_of("slow");
  const grantd_shaper before = *node().maps().shaper.find(0).value();
  grantd_shaper queues = before;
  queues.mode = GRANTD_SHAPER_HTB;
  queues.queue_ifindex = node().ifindex("tail0");
  queues.release_ifindex = node().ifindex("uplink0");
  queues.secret = 0x5ec2e7a1;
  ASSERT_TRUE(node().maps().shaper.put(0, queues).ok());
  ASSERT_TRUE(node().maps().queue.put(slow.endpoint_id, {{0x10005, 0x10006}}).ok());
  PacketSocket guest(far_end("veth-slow")), behind_queues(far_end("tail0"));
  Bytes payload = big_endian(boot_now(), 8) + zeros(32);
  const Bytes datagram = udp(port_, 9, payload.size());
  Bytes frame = frame_out("10.20.0.8", kBob4, kUdp, Bytes(datagram.begin(), datagram.begin() + 8) + payload);
  guest.send({}, frame);
  EXPECT_TRUE(behind_queues.receives(payload, 20'000));
  ASSERT_TRUE(node().maps().queue.erase(slow.endpoint_id).ok());
  frame.back() = payload.back() = 1;
  guest.send({}, frame);
  EXPECT_FALSE(behind_queues.receives(payload, 300)) << "what does not wait goes its own way";
  ASSERT_TRUE(node().maps().shaper.put(0, before).ok());
}

}  // namespace
}  // namespace grantd::prog
