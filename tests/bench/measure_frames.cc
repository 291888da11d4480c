#include "tests/bench/measure.h"

#include <sys/socket.h>
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <functional>

namespace grantd::bench {

std::uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000ULL + static_cast<std::uint64_t>(time.tv_nsec);
}

namespace {

constexpr std::uint32_t established_flows = 64;
constexpr std::uint16_t first_port = 1024;
constexpr std::uint32_t ports = 60000;

// Sends every frame once. Returns nanoseconds per frame.
Result<double> burst(const Fd& wire, std::vector<Frame>& frames) {
  constexpr std::size_t batch = 64;
  std::vector<iovec> parts(frames.size());
  std::vector<mmsghdr> messages(frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    parts[i] = {frames[i].data(), frames[i].size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const std::uint64_t begin = now_ns();
  for (std::size_t sent = 0; sent < frames.size();) {
    const auto want = static_cast<unsigned>(std::min(batch, frames.size() - sent));
    const int done = sendmmsg(wire.get(), &messages[sent], want, 0);
    if (done <= 0) return system_error("sendmmsg", errno);
    sent += static_cast<std::size_t>(done);
  }
  return static_cast<double>(now_ns() - begin) / static_cast<double>(frames.size());
}

FrameFields from_guest(const World& world) {
  const WorldFacts& facts = world.facts();
  FrameFields fields;
  fields.source_mac = facts.guest_mac;
  fields.destination_mac = facts.guest_gateway_mac;
  fields.source_address = facts.guest_address;
  fields.destination_address = facts.destination;
  fields.source_port = first_port;
  fields.destination_port = facts.destination_port;
  return fields;
}

FrameFields from_peer(const World& world) {
  const WorldFacts& facts = world.facts();
  FrameFields fields;
  fields.source_mac = facts.peer_mac;
  fields.destination_mac = facts.peer_gateway_mac;
  fields.source_address = facts.peer_address;
  fields.destination_address = facts.guest_address;
  fields.source_port = first_port;
  fields.destination_port = 7000;
  return fields;
}

FrameFields reply_to(const World& world, const FrameFields& request) {
  FrameFields fields = from_peer(world);
  fields.source_address = request.destination_address;
  fields.source_port = request.destination_port;
  fields.destination_port = request.source_port;
  return fields;
}

using FieldsOf = std::function<FrameFields(std::uint32_t index)>;

std::vector<Frame> frames_of(std::uint32_t count, const FieldsOf& fields_of) {
  std::vector<Frame> frames;
  frames.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) frames.push_back(udp_frame(fields_of(i)));
  return frames;
}

enum class Side { Guest, Peer };

// A burst from that side, of which `arrive` of all must come out at the other.
Result<double> checked_burst(const World& world, Side sender, std::vector<Frame> frames, bool arrive,
                             const char* metric) {
  const auto received = [&] { return sender == Side::Guest ? world.peer_received() : world.guest_received(); };
  const auto before = received();
  if (!before) return before.error();
  auto cost = burst(sender == Side::Guest ? world.guest_wire() : world.peer_wire(), frames);
  if (!cost) return cost.error();
  const auto after = received();
  if (!after) return after.error();
  const std::uint64_t arrived = after.value() - before.value();
  const std::uint64_t slack = frames.size() / 100;  // ARP, and the like
  if (arrive ? arrived + slack < frames.size() : arrived > slack)
    return Error{world.facts().name + ": " + metric + ": " + std::to_string(arrived) + " of " +
                     std::to_string(frames.size()) + " packets arrived, " + (arrive ? "all" : "none") + " should",
                 0};
  return cost;
}

}  // namespace

Result<Sample> measure_frames(const World& world, const Counts& counts, std::uint32_t round) {
  const WorldFacts& facts = world.facts();
  const auto established = [&](std::uint32_t i) {
    FrameFields fields = from_guest(world);
    fields.source_port = static_cast<std::uint16_t>(first_port + i % established_flows);
    return fields;
  };
  const auto established_reply = [&](std::uint32_t i) { return reply_to(world, established(i)); };
  // Walks through ports, then addresses: no tuple comes twice within 15 million.
  const auto fresh = [&](std::uint32_t i, FrameFields fields, std::uint32_t& address, std::uint32_t addresses) {
    const std::uint32_t serial = round * counts.new_flows + i;
    fields.source_port = static_cast<std::uint16_t>(first_port + established_flows + serial % ports);
    address = address_plus(address, 1 + serial / ports % addresses);
    return fields;
  };
  const auto new_egress = [&](std::uint32_t i) {
    FrameFields fields = from_guest(world);
    std::uint32_t address = fields.destination_address;
    fields = fresh(i, fields, address, 250);
    fields.destination_address = address;
    return fields;
  };
  const auto new_ingress = [&](std::uint32_t i) {
    FrameFields fields = from_peer(world);
    std::uint32_t address = fields.source_address;
    fields = fresh(i, fields, address, 100);
    fields.source_address = address;
    return fields;
  };
  const auto refused_egress = [&](std::uint32_t i) {
    FrameFields fields = established(i);
    fields.destination_address = facts.refused_destination;
    return fields;
  };
  const auto refused_ingress = [&](std::uint32_t i) {
    FrameFields fields = from_peer(world);
    fields.source_address = facts.stranger;
    fields.source_port = static_cast<std::uint16_t>(first_port + i % established_flows);
    return fields;
  };

  // Both directions once, so that whoever keeps state holds the flows for established.
  for (const Side side : {Side::Guest, Side::Peer, Side::Guest, Side::Peer}) {
    auto warm = frames_of(established_flows, side == Side::Guest ? FieldsOf(established) : FieldsOf(established_reply));
    if (auto sent = burst(side == Side::Guest ? world.guest_wire() : world.peer_wire(), warm); !sent)
      return sent.error();
  }

  Sample sample;
  const auto measure = [&](const char* metric, Side side, std::uint32_t count, const FieldsOf& fields_of,
                           bool arrive) -> Result<void> {
    auto cost = checked_burst(world, side, frames_of(count, fields_of), arrive, metric);
    if (!cost) return cost.error();
    sample[metric] = cost.value();
    return {};
  };

  std::vector<Frame> unhandled(counts.packets, unhandled_frame(from_guest(world)));
  auto harness = burst(world.guest_wire(), unhandled);
  if (!harness) return harness.error();
  sample["harness"] = harness.value();

  struct Step {
    const char* metric;
    Side side;
    std::uint32_t count;
    FieldsOf fields_of;
    bool arrive;
  };
  const Step steps[] = {
      {"established_egress", Side::Guest, counts.packets, established, true},
      {"established_ingress", Side::Peer, counts.packets, established_reply, true},
      {"new_egress", Side::Guest, counts.new_flows, new_egress, true},
      {"new_ingress", Side::Peer, counts.new_flows, new_ingress, true},
      {"refused_egress", Side::Guest, counts.packets, refused_egress, !facts.enforces},
      {"refused_ingress", Side::Peer, counts.packets, refused_ingress, !facts.enforces},
  };
  for (const Step& step : steps)
    if (auto done = measure(step.metric, step.side, step.count, step.fields_of, step.arrive); !done)
      return done.error();
  return sample;
}

}  // namespace grantd::bench
