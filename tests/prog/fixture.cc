#include "tests/prog/fixture.h"

#include "agent/plan/encode.h"
#include "agent/snapshot/snapshot.h"
#include "crd-sync/destination.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <sched.h>

#include <chrono>
#include <stdexcept>

namespace grantd::prog {

namespace {

constexpr const char* kDestinations[] = {
    "198.51.100.0/24:443/TCP", "198.51.100.0/24:5000-5010/UDP",
    "198.51.100.0/24:ICMP",    "[2001:db8:be::/48]:443/TCP",
    "198.51.100.7:7000",       "realm:carol:8443/TCP",
    "10.42.8.0/24:80/TCP",     "0.0.0.0/0:9999/SCTP",
    "2001:db8:be::/48",        "198.51.100.64/26",
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

Realm realm(const std::string& name, std::initializer_list<const char*> prefixes) {
  Realm made;
  made.name = made.identity = name;
  for (const char* prefix : prefixes) made.addresses.push_back({must(IpPrefix::parse(prefix)), {}});
  return made;
}

Grant grant(const std::string& name, const std::string& grantee) {
  Grant made;
  made.namespace_name = "ns";
  made.name = made.spec_hash = name;
  made.grantor_realm = "alice";
  made.grantee_realm = grantee;
  return made;
}

Workload workload(const std::string& name, const std::string& grant_name,
                  std::initializer_list<const char*> addresses) {
  Workload made;
  made.name = name;
  made.grant = "ns/" + grant_name;
  made.interface = "veth-" + name;
  for (const char* text : addresses) made.addresses.push_back(must(IpAddress::parse(text)));
  made.mac = must(MacAddress::parse(kGuestMac));
  return made;
}

DesiredState state() {
  using std::chrono::hours;
  const auto now = std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  DesiredState desired;
  desired.realms = {realm("alice", {"192.0.2.128/25", "2001:db8:a11c::/48"}),
                    realm("bob", {"192.0.2.0/25", "2001:db8:b0b::/48", "100.64.7.0/24"}),
                    realm("carol", {"203.0.113.0/25", "2001:db8:ca01::/48"})};
  Grant bob = grant("bob", "bob");
  bob.egress_allowed = true;
  for (const char* text : kDestinations) {
    bob.destinations.own().push_back(must(parse_destination(text)));
    bob.destinations.own().back().text = text;
  }
  Grant late = grant("late", "bob"), early = grant("early", "bob"), slow = grant("slow", "bob");
  late.valid_until = now - hours(1);
  early.valid_from = now + hours(1);
  slow.egress_bps = slow.ingress_bps = 8'000'000;
  slow.egress_burst_bytes = slow.ingress_burst_bytes = 128 << 10;
  desired.grants = {bob, early, late, grant("other", "carol"), slow};
  desired.workloads = {workload("db", "bob", {kDb4, kDb6}),       workload("early", "early", {"10.20.0.6"}),
                       workload("far", "other", {"10.20.0.7"}),   workload("late", "late", {"10.20.0.4"}),
                       workload("orphan", "none", {"10.20.0.5"}), workload("slow", "slow", {"10.20.0.8", "fd00:20::8"}),
                       workload("web", "bob", {kWeb4, kWeb6})};
  return desired;
}

}  // namespace

std::unique_ptr<PrivateNode> Prog::node_;
std::unique_ptr<DryRun> Prog::dry_run_;
testing::Environment* const Prog::take_down_ =
    testing::AddGlobalTestEnvironment(new TakeDown);  // GoogleTest's from here

std::ostream& operator<<(std::ostream& out, const Sent& sent) {
  return out << (sent.passes ? "passes" : "drops") << " as " << reason_label(sent.reason);
}

void expect(const Sent& sent, grantd_reason reason, const std::string& what) {
  EXPECT_EQ(std::string(reason_label(sent.reason)), reason_label(reason)) << what;
  EXPECT_EQ(sent.passes, reason_passes(reason)) << what << ": " << sent;
}

void Prog::SetUpTestSuite() {
  if (node_) return;
  node_ = std::make_unique<PrivateNode>(state());
  node_->facts().pod_cidrs = {must(IpPrefix::parse("10.42.0.0/16"))};
  node_->facts().service_cidrs = {must(IpPrefix::parse("10.43.0.0/16"))};
  node_->facts().interfaces[0].addresses = {must(IpAddress::parse(kNode4))};
  for (InterfaceFact& each : node_->facts().interfaces)
    each.link_local = {must(IpAddress::parse("fe80::1")), must(IpAddress::parse("fe80::2"))};
  node_->apply();
  dry_run_ = must(DryRun::load(node_->pin_root(), must(stamp_settings(GRANTD_STAMP_MASK_DEFAULT))));
}

void Prog::TakeDown::TearDown() {
  dry_run_.reset();
  node_.reset();
}

std::uint16_t Prog::fresh_port() {
  static std::uint16_t port = 20000;
  return port++;
}

std::uint32_t Prog::interface_of(const std::string& guest) { return node_->ifindex("veth-" + guest); }

std::uint32_t Prog::slot_of(const std::string& grant) {
  for (const auto& [slot, name] : must(node_->maps().slotname.entries()))
    if (text_of(name.grant) == "ns/" + grant) return slot;
  throw std::runtime_error("no slot of " + grant);
}

std::uint32_t Prog::identity_of(const std::string& name) {
  for (const auto& [identity, named] : must(node_->maps().idname.entries()))
    if (text_of(named.name) == name) return identity;
  throw std::runtime_error("no identity of " + name);
}

std::uint32_t Prog::stamp_of(const std::string& name) {
  return (GRANTD_STAMP_TAG & GRANTD_STAMP_MASK_DEFAULT) | identity_of(name);
}

grantd_counter Prog::counter(std::uint32_t slot, grantd_direction direction, grantd_reason reason) {
  const auto all = must(node_->maps().counters(slot));
  return all.empty() ? grantd_counter{} : all[GRANTD_COUNTER_INDEX(direction, reason)];
}

Prog::Answer Prog::ask(Hook hook, const Bytes& frame, const __sk_buff& context, std::uint32_t repeat) {
  __sk_buff in = context;
  Answer answer{0, context};
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<__u32>(frame.size());
  options.ctx_in = &in;
  options.ctx_size_in = sizeof(in);
  options.ctx_out = &answer.context;
  options.ctx_size_out = sizeof(answer.context);
  options.repeat = static_cast<int>(repeat);
  if (bpf_prog_test_run_opts(node_->datapath().programs().at(hook).fd, &options) != 0)
    throw std::runtime_error(std::string("test run: ") + std::strerror(errno));
  answer.verdict = static_cast<int>(options.retval);
  return answer;
}

bool Prog::try_at(std::uint64_t now_ns, const std::function<void()>& act) {
  cpu_set_t all, here;
  if (sched_getaffinity(0, sizeof(all), &all) != 0) throw std::runtime_error("sched_getaffinity");
  // Always on the same one, so that no other CPU's counters hold times that were made up.
  std::size_t cpu = 0;
  while (!CPU_ISSET(cpu, &all)) cpu++;
  CPU_ZERO(&here);
  CPU_SET(cpu, &here);
  if (sched_setaffinity(0, sizeof(here), &here) != 0) throw std::runtime_error("sched_setaffinity");
  const RawMap& map = node_->maps().clock.raw();
  std::vector<grantd_clock> clocks(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t only = 0;
  // Whatever packet reads the clock.
  run(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, tcp(1, 1, kRst)), node_->ifindex("uplink0"), {});
  must(map.lookup(&only, clocks.data()));
  clocks[cpu].now_ns = now_ns;
  const std::uint64_t tick = clocks[cpu].tick;
  if (!map.update(&only, clocks.data())) throw std::runtime_error("cannot set the clock");
  act();
  must(map.lookup(&only, clocks.data()));
  const bool stood = clocks[cpu].now_ns == now_ns && clocks[cpu].tick == tick;
  clocks[cpu].tick = 0;
  if (!map.update(&only, clocks.data())) throw std::runtime_error("cannot set the clock");
  if (sched_setaffinity(0, sizeof(all), &all) != 0) throw std::runtime_error("sched_setaffinity");
  return stood;
}

void Prog::at(std::uint64_t now_ns, const std::function<void()>& prepare, const std::function<void()>& act) {
  for (int attempt = 0; attempt < 10'000; attempt++) {
    prepare();
    if (try_at(now_ns, act)) return;
  }
  throw std::runtime_error("a tick after every packet");
}

grantd_explanation Prog::explain(Hook hook, const Bytes& frame, const std::string& guest, const Context& context) {
  const DryPacket packet{frame,        interface_of(guest), context.ingress_ifindex,
                         context.mark, context.gso_size,    context.gso_segs};
  return must(hook == Hook::FromGuest ? dry_run_->from_guest(packet) : dry_run_->to_guest(packet)).explanation;
}

Sent Prog::run(Hook hook, const Bytes& frame, std::uint32_t ifindex, const Context& context, std::uint32_t repeat) {
  __sk_buff in{};
  in.ifindex = ifindex;
  in.ingress_ifindex = context.ingress_ifindex;
  in.mark = context.mark;
  in.gso_size = context.gso_size;
  in.gso_segs = context.gso_segs;
  const Answer answer = ask(hook, frame, in, repeat);
  Sent sent;
  sent.passes = answer.verdict == TC_ACT_UNSPEC;
  EXPECT_TRUE(sent.passes || answer.verdict == TC_ACT_SHOT) << "verdict " << answer.verdict;
  sent.mark = answer.context.mark;
  return sent;
}

Sent Prog::send(Hook hook, const Bytes& frame, std::uint32_t ifindex, const Context& context) {
  const DryPacket packet{frame, ifindex, context.ingress_ifindex, context.mark, context.gso_size, context.gso_segs};
  const DryVerdict why = must(hook == Hook::FromGuest ? dry_run_->from_guest(packet) : dry_run_->to_guest(packet));
  EXPECT_EQ(why.explanation.concluded, 1);
  const auto reason = static_cast<grantd_reason>(why.explanation.reason);
  const auto direction = hook == Hook::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
  const auto before = counter(why.explanation.slot, direction, reason);
  Sent sent = run(hook, frame, ifindex, context);
  sent.reason = reason;
  sent.slot = why.explanation.slot;
  EXPECT_EQ(sent.passes, reason_passes(reason)) << "the dry run says " << reason_label(reason);
  EXPECT_EQ(why.action, sent.passes ? static_cast<std::uint32_t>(TC_ACT_UNSPEC) : TC_ACT_SHOT);
  const auto after = counter(sent.slot, direction, reason);
  EXPECT_EQ(after.packets, before.packets + 1) << "counted under " << reason_label(reason);
  EXPECT_EQ(after.bytes, before.bytes + frame.size());
  return sent;
}

Sent Prog::from_guest(const Bytes& frame, const std::string& guest, const Context& context) {
  return send(Hook::FromGuest, frame, interface_of(guest), context);
}

Sent Prog::to_guest(const Bytes& frame, const std::string& identity, const std::string& guest, Context context) {
  if (identity != "local") {
    context.ingress_ifindex = node_->ifindex("uplink0");
    if (!identity.empty()) context.mark = stamp_of(identity);
  }
  return send(Hook::ToGuest, frame, interface_of(guest), context);
}

bool Prog::passes_uplink(const Bytes& frame, const std::string& uplink) {
  return run(Hook::FromUplink, frame, node_->ifindex(uplink), {}).passes;
}

std::uint32_t Prog::from_uplink(const Bytes& frame, const std::string& uplink, std::uint32_t mark) {
  Context context;
  context.mark = mark;
  const Sent sent = run(Hook::FromUplink, frame, node_->ifindex(uplink), context);
  EXPECT_TRUE(sent.passes);
  return sent.mark;
}

}  // namespace grantd::prog
