// Load generator of scripts/bench: reads the worlds and the counts as JSON on standard input,
// visits all worlds in every round, writes every sample as JSON on standard output.
#include "tests/bench/measure.h"

#include <sched.h>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

namespace {

using grantd::Error;
using grantd::Result;
using nlohmann::json;
namespace bench = grantd::bench;

Result<std::vector<bench::WorldFacts>> read_worlds(const json& input) {
  std::vector<bench::WorldFacts> worlds;
  std::string problem;
  const auto address = [&](const json& world, const char* field) {
    auto parsed = bench::parse_ipv4(world.at(field).get<std::string>());
    if (!parsed) problem = parsed.error().message;
    return parsed ? parsed.value() : 0U;
  };
  const auto mac = [&](const json& world, const char* field) {
    auto parsed = bench::parse_mac(world.at(field).get<std::string>());
    if (!parsed) problem = parsed.error().message;
    return parsed ? parsed.value() : bench::Mac{};
  };
  for (const json& world : input.at("worlds")) {
    bench::WorldFacts facts;
    facts.name = world.at("name").get<std::string>();
    facts.guest_netns = world.at("guest_netns").get<std::string>();
    facts.node_netns = world.at("node_netns").get<std::string>();
    facts.peer_netns = world.at("peer_netns").get<std::string>();
    facts.guest_interface = world.at("guest_interface").get<std::string>();
    facts.peer_interface = world.at("peer_interface").get<std::string>();
    facts.guest_mac = mac(world, "guest_mac");
    facts.guest_gateway_mac = mac(world, "guest_gateway_mac");
    facts.peer_mac = mac(world, "peer_mac");
    facts.peer_gateway_mac = mac(world, "peer_gateway_mac");
    facts.guest_address = address(world, "guest_address");
    facts.peer_address = address(world, "peer_address");
    facts.destination = address(world, "destination");
    facts.destination_port = world.at("destination_port").get<std::uint16_t>();
    facts.refused_destination = address(world, "refused_destination");
    facts.stranger = address(world, "stranger");
    facts.enforces = world.at("enforces").get<bool>();
    if (!problem.empty()) return Error{facts.name + ": " + problem, 0};
    worlds.push_back(std::move(facts));
  }
  return worlds;
}

// One CPU of its own as far as the machine gives it: other processes wait, so that neighbours
// cost time between bursts and not inside them.
Result<void> take_cpu(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<std::size_t>(cpu), &cpus);
  if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) return grantd::system_error("sched_setaffinity", errno);
  sched_param parameters{};
  parameters.sched_priority = 1;
  if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) return grantd::system_error("SCHED_FIFO", errno);
  return {};
}

// Lets freed memory, timers and other processes have their turn.
void pause_between_bursts() {
  const timespec pause{0, 2'000'000};
  nanosleep(&pause, nullptr);
}

Result<json> run(const json& input) {
  auto facts = read_worlds(input);
  if (!facts) return facts.error();
  std::vector<bench::World> worlds;
  for (const bench::WorldFacts& each : facts.value()) {
    auto world = bench::World::open(each);
    if (!world) return Error{each.name + ": " + world.error().message, world.error().error_number};
    worlds.push_back(std::move(world).value());
  }
  const bool sockets = input.at("phase").get<std::string>() == "sockets";
  const auto rounds = input.at("rounds").get<std::uint32_t>();
  bench::Counts counts;
  counts.packets = input.at("packets").get<std::uint32_t>();
  counts.new_flows = input.at("new_flows").get<std::uint32_t>();
  counts.round_trips = input.at("round_trips").get<std::uint32_t>();
  counts.connects = input.at("connects").get<std::uint32_t>();
  counts.datagrams = input.at("datagrams").get<std::uint32_t>();
  if (auto taken = take_cpu(input.at("cpu").get<int>()); !taken) return taken.error();

  json samples = json::object();
  // Round 0 warms up. The order turns from round to round, so that nobody is always first.
  for (std::uint32_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < worlds.size(); ++i) {
      const bench::World& world = worlds[(i + round) % worlds.size()];
      if (auto flushed = world.flush_conntrack(); !flushed) return flushed.error();
      pause_between_bursts();
      auto sample = sockets ? measure_sockets(world, counts) : measure_frames(world, counts, round);
      if (!sample) return sample.error();
      if (round == 0) continue;
      for (const auto& [metric, value] : sample.value()) samples[world.facts().name][metric].push_back(value);
    }
  }
  return samples;
}

}  // namespace

int main() {
  try {
    auto samples = run(json::parse(std::cin));
    if (!samples) {
      std::fprintf(stderr, "grantd_bench_load: %s\n", samples.error().message.c_str());
      return 1;
    }
    std::cout << samples.value().dump() << '\n';
    return 0;
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "grantd_bench_load: input: %s\n", exception.what());
    return 2;
  }
}
