// What the load generator measures. Every burst runs in one thread on one CPU: a veth hands a
// packet over inline, so sender, node and receiver take turns on this CPU and the time that
// passes is the CPU time that the packets cost.
#pragma once

#include "maps/result.h"
#include "tests/bench/world.h"

#include <map>
#include <string>
#include <vector>

namespace grantd::bench {

struct Counts {
  std::uint32_t packets = 4096;    // in a burst of raw frames
  std::uint32_t new_flows = 2048;  // in a burst of raw frames that each begin a flow
  std::uint32_t round_trips = 1000;
  std::uint32_t connects = 200;
  std::uint32_t datagrams = 4096;  // through sockets
};

// Metric -> value: nanoseconds, or things per second where the name ends in _per_second.
using Sample = std::map<std::string, double>;

// Raw frames, ns per packet, with whoever receives them dropping them unseen. Fails if packets that should arrive do
// not, or the reverse: a benchmark of the wrong path is worse than none. `round` keeps flows apart.
Result<Sample> measure_frames(const World& world, const Counts& counts, std::uint32_t round);

// Sockets at both ends: round trips, connects, datagrams per second.
Result<Sample> measure_sockets(const World& world, const Counts& counts);

// Nanoseconds of CLOCK_MONOTONIC.
std::uint64_t now_ns();

}  // namespace grantd::bench
