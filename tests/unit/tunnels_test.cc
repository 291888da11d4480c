// Which interfaces may hand the stamp of an outer packet to an inner one, by what the kernel tells of them.
#include "agent/node/interfaces.h"

#include <gtest/gtest.h>
#include <linux/if_arp.h>

namespace grantd {
namespace {

TEST(Tunnels, AreKnownByTheirKindAndByTheirHeader) {
  for (const char* kind : {"vxlan", "geneve", "gretap", "macsec", "batadv"})
    EXPECT_TRUE(is_tunnel(kind, ARPHRD_ETHER, false)) << kind;
  for (const char* kind : {"veth", "bridge", "dummy", "vlan", "macvlan", "tun", "bond", "netkit"})
    EXPECT_FALSE(is_tunnel(kind, ARPHRD_ETHER, false)) << kind;
  for (const auto header : {ARPHRD_NONE, ARPHRD_PPP, ARPHRD_TUNNEL, ARPHRD_SIT, ARPHRD_IPGRE})
    EXPECT_TRUE(is_tunnel("", static_cast<unsigned>(header), false)) << header;
}

// That of L2TPv3 has neither.
TEST(Tunnels, EthernetOfNoKindIsOneUnlessItComesOffAWire) {
  EXPECT_TRUE(is_tunnel("", ARPHRD_ETHER, false));
  EXPECT_FALSE(is_tunnel("", ARPHRD_ETHER, true)) << "a network card";
  EXPECT_FALSE(is_tunnel("", ARPHRD_LOOPBACK, false));
  EXPECT_TRUE(is_tunnel("", ARPHRD_NONE, true)) << "a modem's, which has no header";
}

}  // namespace
}  // namespace grantd
