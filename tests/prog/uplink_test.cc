// from_uplink: who sends, by address and by where it came in; and what it does with marks (rule 11).
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

class Uplink : public Prog {
 protected:
  Bytes syn(const char* source, const char* destination = kWeb4) {
    return frame_in(source, destination, kTcp, tcp(fresh_port(), 80, kSyn));
  }
};

TEST_F(Uplink, ARealmIsBelievedOnItsUplinksOnly) {
  EXPECT_EQ(from_uplink(syn(kBob4), "uplink0"), stamp_of("bob"));
  EXPECT_EQ(from_uplink(syn(kBob6, kWeb6), "uplink0"), stamp_of("bob"));
  EXPECT_EQ(from_uplink(syn("100.64.7.9"), "tail0"), stamp_of("bob"));
  EXPECT_EQ(from_uplink(syn("100.64.7.9"), "uplink0"), 0U) << "a tailnet address from the LAN";
  EXPECT_EQ(from_uplink(syn(kBob4), "tail0"), 0U) << "a LAN address from the tailnet";
  EXPECT_EQ(from_uplink(syn(kCarol4), "uplink0"), stamp_of("carol"));
  EXPECT_EQ(from_uplink(syn(kStranger4), "uplink0"), 0U);
}

TEST_F(Uplink, TheNodesAndTheGuestsOwnAddressesFromOutsideAreNobodys) {
  EXPECT_EQ(from_uplink(syn(kNode4), "uplink0"), 0U);
  EXPECT_EQ(from_uplink(syn(kWeb4), "uplink0"), 0U);
}

TEST_F(Uplink, AStampThatIsThereAlreadyIsOverwritten) {
  EXPECT_EQ(from_uplink(syn(kStranger4), "uplink0", stamp_of("bob")), 0U);
  EXPECT_EQ(from_uplink(syn(kCarol4), "uplink0", stamp_of("bob")), stamp_of("carol"));
  EXPECT_EQ(from_uplink(syn(kStranger4), "uplink0", stamp_of("bob") | 0x00ffe000), 0x00ffe000U)
      << "the bits of others stay";
}

TEST_F(Uplink, WhatItDoesNotUnderstandIsNobodys) {
  Bytes tagged = syn(kBob4);
  tagged[12] = 0x81;
  tagged[13] = 0x00;
  EXPECT_EQ(from_uplink(tagged, "uplink0", stamp_of("bob")), 0U);
  EXPECT_EQ(from_uplink(ethernet(kGuestMac, kFarMac, 0x0806, arp(1, kFarMac, kBob4, kGuestMac, kWeb4)), "uplink0",
                        stamp_of("bob")),
            0U);
}

TEST_F(Uplink, APieceOfADatagramIsNotTakenFromWhoIsNotItsSender) {
  const Bytes payload(64, 'x');
  const auto piece4 = [&](const char* source, std::uint16_t fragment) {
    return ethernet(kGuestMac, kFarMac, 0x0800, ipv4({source, kWeb4, kUdp, 7, fragment}, payload));
  };
  const auto piece6 = [&](const char* source, std::uint8_t next) {
    return ethernet(kGuestMac, kFarMac, 0x86dd, ipv6({source, kWeb6, next}, ipv6_fragment(kUdp, 8 << 3, 7) + payload));
  };
  for (const std::uint16_t fragment : std::initializer_list<std::uint16_t>{0x2000, 0x2010, 0x0010}) {
    EXPECT_TRUE(passes_uplink(piece4(kBob4, fragment), "uplink0")) << "by his own uplink";
    EXPECT_FALSE(passes_uplink(piece4(kBob4, fragment), "tail0")) << "by another one";
    EXPECT_TRUE(passes_uplink(piece4(kStranger4, fragment), "tail0")) << "nobody's address is nobody's datagram";
  }
  EXPECT_TRUE(passes_uplink(piece4(kBob4, 0), "tail0")) << "whole, and nobody's";
  EXPECT_TRUE(passes_uplink(piece4(kBob4, 0x4000), "tail0")) << "not to be fragmented";
  for (const std::uint8_t next : std::initializer_list<std::uint8_t>{0, 43, 44, 51, 60}) {
    EXPECT_TRUE(passes_uplink(piece6(kBob6, next), "uplink0"));
    EXPECT_FALSE(passes_uplink(piece6(kBob6, next), "tail0")) << int{next};
  }
  EXPECT_TRUE(passes_uplink(piece6(kBob6, kUdp), "tail0"));
}

TEST_F(Uplink, AnInterfaceThatIsNoUplinkBelievesNobody) {
  EXPECT_EQ(from_uplink(syn(kBob4), "veth-web", stamp_of("bob")), 0U);
}

TEST_F(Uplink, WithItsStampAPartyReachesItsGuestAndNobodyElseDoes) {
  const Bytes frame = syn(kBob4);
  Context context;
  context.mark = from_uplink(frame, "uplink0");
  expect(to_guest(frame, "", "web", context), GRANTD_REASON_NEW_FLOW);
  const Bytes forged = syn(kBob4);
  context.mark = from_uplink(forged, "tail0");
  expect(to_guest(forged, "", "web", context), GRANTD_REASON_NOBODY);
}

}  // namespace
}  // namespace grantd::prog
