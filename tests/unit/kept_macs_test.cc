// Which MAC address a guest is held to.
#include "agent/plan/in_force.h"
#include "tests/unit/desired_samples.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace grantd {
namespace {

constexpr std::uint32_t kBridge = 99;

// A guest's interface, and what the kernel has of it since it was attached.
struct Attached {
  std::vector<InterfaceFact> interfaces{desired::interface("veth-a", 11)};
  KernelState kernel;

  explicit Attached(const MacAddress& recorded, std::uint32_t master = kBridge) {
    interfaces[0].master = master;
    grantd_endpoint record{};
    std::ranges::copy(recorded.bytes, record.mac);
    kernel.endpoints[11] = record;
    for (const Hook hook : kGuestHooks) kernel.attachments.insert({hook, 11, 0});
  }

  MacAddress held_to() {
    keep_macs(kernel, interfaces);
    return *interfaces[0].peer_mac;
  }
};

const MacAddress kFirst{{2, 0, 0, 0, 0, 0x77}};
const MacAddress kNow = *desired::interface("veth-a", 11).peer_mac;

TEST(KeptMacs, OnABridgeTheOneThatItHadWhenItWasAttached) { EXPECT_EQ(Attached(kFirst).held_to(), kFirst); }

TEST(KeptMacs, OnALinkOfItsOwnTheOneThatItHasNow) { EXPECT_EQ(Attached(kFirst, 0).held_to(), kNow); }

TEST(KeptMacs, WhereTheKernelToldOfNoneTheFirstThatItTells) { EXPECT_EQ(Attached(MacAddress{}).held_to(), kNow); }

TEST(KeptMacs, OnABridgeItStaysWhereTheKernelTellsOfNoneNow) {
  Attached guest(kFirst);
  guest.interfaces[0].peer_mac.reset();
  EXPECT_EQ(guest.held_to(), kFirst);
}

TEST(KeptMacs, OfWhoWasNotAttachedTheOneThatItHasNow) {
  Attached guest(kFirst);
  guest.kernel.attachments.clear();
  EXPECT_EQ(guest.held_to(), kNow);
}

}  // namespace
}  // namespace grantd
