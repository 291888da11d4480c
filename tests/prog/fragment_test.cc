// Fragments: the first one holds the whole L4 header and is judged, later ones follow it (rule 10).
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

constexpr std::uint16_t kMore4 = 0x2000, kMore6 = 1;

class Fragment : public Prog {
 protected:
  void SetUp() override { id_ = fresh_port(); }

  Sent out4(std::uint16_t fragment, const Bytes& payload, const char* to = kBob4, std::uint8_t protocol = kUdp) {
    return from_guest(ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, to, protocol, id_, fragment, {}}, payload)));
  }
  Sent in4(std::uint16_t fragment, const Bytes& payload, const std::string& identity) {
    return to_guest(ethernet(kGuestMac, kFarMac, 0x0800, ipv4({kBob4, kWeb4, kUdp, id_, fragment, {}}, payload)),
                    identity);
  }
  Sent out6(std::uint16_t offset_and_more, const Bytes& payload, std::uint8_t next = kUdp, const char* to = kBob6) {
    return from_guest(ethernet(kFarMac, kGuestMac, 0x86dd,
                               ipv6({kWeb6, to, 44, 64}, ipv6_fragment(next, offset_and_more, id_) + payload)));
  }
  // A UDP header that speaks of the whole datagram, and the first `bytes` of it.
  static Bytes first_part(std::uint16_t port, std::size_t bytes) {
    Bytes part = udp(port, 53, 2000);
    part.resize(bytes);
    return part;
  }
  std::uint16_t id_ = 0;
};

TEST_F(Fragment, LaterOnesFollowAFirstThatWasAdmitted) {
  expect(out4(1, zeros(64)), GRANTD_REASON_FRAGMENT_ORPHAN, "before the first");
  expect(out4(kMore4, first_part(fresh_port(), 800)), GRANTD_REASON_NEW_FLOW);
  expect(out4(kMore4 | 100, zeros(800)), GRANTD_REASON_FRAGMENT);
  expect(out4(200, zeros(408)), GRANTD_REASON_FRAGMENT);
  id_++;
  expect(out4(200, zeros(408)), GRANTD_REASON_FRAGMENT_ORPHAN, "another id");
}

TEST_F(Fragment, OfAnEstablishedFlowToo) {
  const auto port = fresh_port();
  expect(from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port, 53))), GRANTD_REASON_NEW_FLOW);
  expect(out4(kMore4, first_part(port, 800)), GRANTD_REASON_ESTABLISHED);
  expect(out4(100, zeros(408)), GRANTD_REASON_FRAGMENT);
}

TEST_F(Fragment, OneThatIsStillToBeCutIntoSegmentsIsNone) {
  const auto port = fresh_port();
  const auto frame = [&](std::uint16_t fragment, const Bytes& payload) {
    return ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, kTcp, id_, fragment, {}}, payload));
  };
  const Bytes first = frame(kMore4, tcp(port, 80, kSyn, 980)), later = frame(125, zeros(1200));
  Context offload;
  offload.gso_size = 16;
  expect(from_guest(first, "web", offload), GRANTD_REASON_MALFORMED);
  expect(from_guest(first), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(later, "web", offload), GRANTD_REASON_MALFORMED);
  expect(from_guest(later), GRANTD_REASON_FRAGMENT);
}

TEST_F(Fragment, OfARefusedPacketAllDrop) {
  expect(out4(kMore4, first_part(fresh_port(), 800), kStranger4), GRANTD_REASON_DESTINATION_PORT);
  expect(out4(100, zeros(800), kStranger4), GRANTD_REASON_FRAGMENT_ORPHAN);
}

TEST_F(Fragment, TheFirstHoldsTheWholeHeader) {
  expect(out4(kMore4, zeros(16), kBob4, kTcp), GRANTD_REASON_FRAGMENT_HEADER, "16 bytes of TCP");
  Bytes options = tcp(fresh_port(), 80, kSyn, 4);
  options[12] = 0x80;
  expect(out4(kMore4, options, kBob4, kTcp), GRANTD_REASON_FRAGMENT_HEADER, "its options are part of it");
  expect(out4(kMore4, tcp(fresh_port(), 80, kSyn, 12), kBob4, kTcp), GRANTD_REASON_NEW_FLOW);
}

TEST_F(Fragment, ALaterOneNeverOverlapsTheHeader) {
  expect(out4(kMore4, tcp(fresh_port(), 80, kSyn, 12), kBob4, kTcp), GRANTD_REASON_NEW_FLOW);
  expect(out4(1, zeros(64), kBob4, kTcp), GRANTD_REASON_FRAGMENT_HEADER, "offset 8");
  expect(out4(2, zeros(64), kBob4, kTcp), GRANTD_REASON_FRAGMENT_HEADER, "offset 16");
  expect(out4(3, zeros(64), kBob4, kTcp), GRANTD_REASON_FRAGMENT, "offset 24");
}

TEST_F(Fragment, ThatContradictsItselfDrops) {
  expect(out4(kMore4 | 100, zeros(12)), GRANTD_REASON_MALFORMED, "more to come, and no multiple of eight");
  expect(out4(0x1fff, zeros(64)), GRANTD_REASON_MALFORMED, "beyond the largest packet");
  expect(out6(0xfff8, zeros(64)), GRANTD_REASON_MALFORMED);
}

TEST_F(Fragment, ItsDirectionAndProtocolAreItsOwn) {
  expect(out4(kMore4, first_part(fresh_port(), 800)), GRANTD_REASON_NEW_FLOW);
  expect(in4(100, zeros(80), ""), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(out4(100, zeros(80), kBob4, kTcp), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(out4(100, zeros(80)), GRANTD_REASON_FRAGMENT);
}

TEST_F(Fragment, FromAPeerTheyCarryTheSameIdentity) {
  expect(in4(kMore4, first_part(fresh_port(), 800), "bob"), GRANTD_REASON_NEW_FLOW);
  expect(in4(100, zeros(80), ""), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(in4(100, zeros(80), "carol"), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(in4(100, zeros(80), "bob"), GRANTD_REASON_FRAGMENT);
}

TEST_F(Fragment, Ipv6) {
  expect(out6(kMore6, first_part(fresh_port(), 800)), GRANTD_REASON_NEW_FLOW);
  expect(out6(800, zeros(400)), GRANTD_REASON_FRAGMENT);
  expect(out6(0, udp(fresh_port(), 53)), GRANTD_REASON_NEW_FLOW, "an atomic fragment is a whole packet");
  expect(out6(kMore6, zeros(16), kTcp), GRANTD_REASON_FRAGMENT_HEADER);
  id_++;
  expect(out6(800, zeros(400)), GRANTD_REASON_FRAGMENT_ORPHAN);
}

TEST_F(Fragment, Ipv6HeadersBehindTheFragmentHeaderCountAsHeader) {
  // Destination options of eight bytes stand between the fragment header and TCP: 28 bytes of header.
  expect(out6(kMore6, extension(kTcp) + tcp(fresh_port(), 80, kSyn, 12), 60), GRANTD_REASON_NEW_FLOW);
  expect(out6(24, zeros(64), 60), GRANTD_REASON_FRAGMENT_HEADER);
  expect(out6(32, zeros(64), 60), GRANTD_REASON_FRAGMENT);
}

TEST_F(Fragment, ATwiceFragmentedPacketDrops) {
  const Bytes twice = ipv6_fragment(44, kMore6, id_) + ipv6_fragment(kTcp, kMore6, id_) + tcp(1, 80, kSyn, 12);
  expect(from_guest(ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({kWeb6, kBob6, 44, 64}, twice))),
         GRANTD_REASON_EXTENSION_HEADER);
}

TEST_F(Fragment, UnderAnotherPolicyItFollowsNoMore) {
  expect(out4(kMore4, first_part(fresh_port(), 800)), GRANTD_REASON_NEW_FLOW);
  const auto slot = slot_of("bob");
  const auto before = node().maps().grant.find(slot).value()->policy_id;
  const auto policy = *node().maps().policy.find(before).value();
  ASSERT_TRUE(node().maps().policy.put(2'000'000, policy).ok());
  node().datapath().publish(slot, 2'000'000);
  expect(out4(100, zeros(80)), GRANTD_REASON_FRAGMENT_ORPHAN);
  node().datapath().publish(slot, before);
  expect(out4(100, zeros(80)), GRANTD_REASON_FRAGMENT);
}

}  // namespace
}  // namespace grantd::prog
