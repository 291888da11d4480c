// The cost of each program for one packet, by BPF_PROG_TEST_RUN: nanoseconds as JSON on standard output. The test run
// itself costs some; "nothing", a program that returns at once, tells how much.
#include "agent/attach/links.h"
#include "tests/kernel/private_node.h"
#include "tests/prog/packet.h"

#include <bpf/bpf.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <vector>

namespace {

using namespace grantd;
using namespace grantd::prog;

constexpr int kRepeat = 200'000, kRounds = 9;

double nanoseconds(int program_fd, const Bytes& frame, std::uint32_t ifindex, std::uint32_t mark) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; round++) {
    __sk_buff context{};
    context.ifindex = ifindex;
    context.ingress_ifindex = mark ? ifindex : 0;
    context.mark = mark;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<__u32>(frame.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.repeat = kRepeat;
    if (bpf_prog_test_run_opts(program_fd, &options) != 0) throw std::runtime_error(std::strerror(errno));
    rounds.push_back(options.duration);
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

nlohmann::ordered_json measure() {
  DesiredState desired = PrivateNode::default_state();
  for (Grant& grant : desired.grants) grant.egress_bps.reset();
  PrivateNode node(desired);
  const auto fd = [&](Hook hook) { return node.datapath().programs().at(hook).fd; };
  const auto guest = node.ifindex("veth-bob-web"), uplink = node.ifindex("uplink0");
  const char *self = "10.20.0.2", *self6 = "fd00:20::2", *peer = "192.0.2.10", *peer6 = "2001:db8:b0b::10";
  auto nothing = load_guard(Hook::FromGuest);
  if (!nothing) throw std::runtime_error(nothing.error().message);
  const auto from_guest = [&](const Bytes& frame) { return nanoseconds(fd(Hook::FromGuest), frame, guest, 0); };
  nlohmann::ordered_json result;
  const Bytes tcp_out = frame_out(self, peer, kTcp, tcp(1000, 80, kSyn));
  result["nothing"] = nanoseconds(nothing.value().get(), tcp_out, guest, 0);
  from_guest(tcp_out);
  result["from_guest established TCP IPv4"] = from_guest(frame_out(self, peer, kTcp, tcp(1000, 80, kAck)));
  result["from_guest established UDP IPv6"] = from_guest(frame_out(self6, peer6, kUdp, udp(1000, 53)));
  result["from_guest refused destination"] = from_guest(frame_out(self, "8.8.8.8", kUdp, udp(1000, 53)));
  result["from_guest refused source"] = from_guest(frame_out("10.20.0.77", peer, kUdp, udp(1000, 53)));
  result["to_guest established TCP IPv4"] =
      nanoseconds(fd(Hook::ToGuest), frame_in(peer, self, kTcp, tcp(80, 1000, kAck)), guest, 1);
  result["to_guest refused stranger"] =
      nanoseconds(fd(Hook::ToGuest), frame_in("203.0.113.200", self, kTcp, tcp(80, 2000, kSyn)), guest, 1);
  result["from_uplink IPv4"] =
      nanoseconds(fd(Hook::FromUplink), frame_in(peer, self, kTcp, tcp(80, 1000, kAck)), uplink, 1);
  return result;
}

}  // namespace

int main() {
  try {
    std::cout << measure().dump(1) << '\n';
    return 0;
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "grantd_bench_programs: %s\n", exception.what());
    return 1;
  }
}
