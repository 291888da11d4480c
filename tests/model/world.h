// A small world as it is made up for a test: what manifests say, in few words, and the text of those manifests.
#pragma once

#include "agent/compile/node_facts.h"
#include "crd-sync/desired_state.h"
#include "tests/model/random.h"

#include <chrono>
#include <string>
#include <vector>

namespace grantd::model {

struct RealmSpec {
  std::string name;
  std::vector<std::string> addresses;
  std::vector<std::string> uplinks;  // empty: the default
};

enum class Time { Now, Ended, NotBegun, Revoked, Notice };

struct GrantSpec {
  std::string name, grantor, grantee;
  bool egress_allowed = true;
  std::vector<std::string> destinations;
  std::vector<std::string> from;  // empty: the default
  Time time = Time::Now;
  std::string bandwidth;  // both ways; "": unlimited
  std::string burst = "128Ki";
};

struct GuestSpec {
  std::string name;   // one of kGuests
  std::string grant;  // of a GrantSpec; another name: quarantine
  std::vector<std::string> addresses;
};

struct World {
  std::vector<RealmSpec> realms;
  std::vector<GrantSpec> grants;
  std::vector<GuestSpec> guests;
};

inline constexpr const char* kGuests[] = {"a", "b", "c", "d"};            // on interfaces veth-a to veth-d
inline constexpr const char* kUplinks[] = {"uplink0", "tail0", "over0"};  // lan, tailnet, overlay
inline constexpr const char* kNodeAddresses[] = {"198.51.100.200", "10.42.0.1", "2001:db8:be::200"};
// What the kernel delivers to the node beside its addresses: of its networks' broadcast, and a route of its own.
inline constexpr const char* kLocalRoutes[] = {"198.51.100.255/32", "192.0.2.96/28", "2001:db8:be::/128"};
inline constexpr const char* kPodRanges[] = {"10.42.0.0/16", "fd00:42::/56"};
inline constexpr const char* kServiceRanges[] = {"10.43.0.0/16", "fd00:43::/112"};
inline constexpr const char* kGatewayAddresses[] = {"fe80::1", "fe80::2"};

inline constexpr const char* kGuestsGateway = "fd00:20::1";  // of a's link alone; an address of the node too

std::string guest_mac(const std::string& name);  // 02:20:00:00:00:0a and so on

std::string manifests(const World& world);
// Each Grant's name gets `suffix`, so that a world that is made again begins without a memory. Both throw where
// something is refused.
DesiredState read_world(const World& world, const std::string& suffix);
DesiredState read_manifests_text(const std::string& text, const std::string& suffix);

World random_world(Random& random);
// Every Grant opens nearly everything, and has a limit that few packets reach.
World random_narrow_world(Random& random);
// One change that an administrator may make: a destination, a party, a realm's address or where it is believed, the
// time, a guest's Grant, the addresses that guests have.
void change_world(Random& random, World& world);
void change_limit(Random& random, GrantSpec& grant);

enum class Edge { Begin, End, EndOfNotice };

// The Grant of this name begins or ends then; or it is revoked with notice of kNotice, whose end the node reckons from
// when it first saw that.
inline constexpr std::chrono::hours kNotice{1};
DesiredState with_edge(DesiredState desired, const std::string& grant, Edge edge, WallTime when);

std::string random_destination(Random& random, const World& world);

}  // namespace grantd::model
