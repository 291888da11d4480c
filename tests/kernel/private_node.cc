#include "tests/kernel/private_node.h"

#include "agent/compile/compile.h"
#include "agent/compile/validity.h"
#include "agent/ctl/explain/ends.h"
#include "agent/ctl/explain/frame.h"
#include "agent/plan/in_force.h"
#include "agent/snapshot/read_snapshot.h"
#include "crd-sync/destination.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace grantd {
namespace {

// Tests may throw: what fails here is no result of the code under test.
void must(bool done, const std::string& what) {
  if (!done) throw std::runtime_error(what + ": " + std::strerror(errno));
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

void run(const std::string& command) { must(std::system(command.c_str()) == 0, command); }

std::string if_name(std::uint32_t ifindex) {
  char name[IF_NAMESIZE] = {};
  must(if_indextoname(ifindex, name) != nullptr, "if_indextoname");
  return name;
}

Realm realm(const std::string& name, std::initializer_list<const char*> prefixes) {
  Realm made;
  made.name = made.identity = name;
  for (const char* prefix : prefixes) made.addresses.push_back({must(IpPrefix::parse(prefix)), {}});
  return made;
}

Workload workload(const std::string& name, const std::string& grant, std::initializer_list<const char*> addresses) {
  Workload made;
  made.name = name;
  made.grant = "keystone-system/" + grant;
  made.interface = "veth-" + name;
  for (const char* address : addresses) made.addresses.push_back(must(IpAddress::parse(address)));
  made.mac = must(MacAddress::parse("02:20:00:00:00:01"));
  made.position = {"workloads.yaml", 1, 3};
  return made;
}

Grant grant(const std::string& name, const std::string& grantee) {
  Grant made;
  made.namespace_name = "keystone-system";
  made.name = name;
  made.grantor_realm = "alice-home";
  made.grantee_realm = grantee;
  made.spec_hash = name;
  made.position = {"grants.yaml", 1, 2};
  return made;
}

}  // namespace

DesiredState PrivateNode::default_state() {
  DesiredState desired;
  desired.realms = {realm("alice-home", {"198.51.100.0/25"}), realm("bob-home", {"192.0.2.0/24", "2001:db8:b0b::/48"}),
                    realm("carol", {"100.64.9.0/24"})};
  Grant bob = grant("bob", "bob-home");
  bob.egress_allowed = true;
  bob.egress_bps = 10'000'000;
  Destination& destination = bob.destinations.own().emplace_back(must(parse_destination("203.0.113.0/24:443/TCP")));
  destination.text = "203.0.113.0/24:443/TCP";
  destination.position = {"grants.yaml", 1, 12};
  Grant carol = grant("carol", "carol");
  carol.valid_until = WallTime(std::chrono::seconds(1'700'000'000));
  carol.time_fields = {{"spec.validity.validUntil: 2023-11-14T22:13:20Z", {"grants.yaml", 2, 34}}};
  desired.grants = {bob, carol};
  desired.workloads = {workload("bob-db", "bob", {"10.20.0.3"}),
                       workload("bob-web", "bob", {"10.20.0.2", "fd00:20::2"}),
                       workload("carol-web", "carol", {"10.20.0.4"}), workload("orphan", "none", {"10.20.0.5"})};
  return desired;
}

Limits PrivateNode::small_tables() {
  Limits limits;
  limits.flows_per_grant = 1024;
  return limits;
}

PrivateNode::PrivateNode(DesiredState desired, const Limits& limits, const std::vector<std::string>& more)
    : network_before_(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)), desired_(std::move(desired)) {
  must(network_before_.valid(), "open /proc/self/ns/net");
  must(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, "unshare");
  must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "make mounts private");
  char path[] = "/tmp/grantd-kernel-XXXXXX";
  must(mkdtemp(path) != nullptr, "mkdtemp");
  directory_ = path;
  must(mount("grantd-test", path, "bpf", 0, nullptr) == 0, "mount bpf");
  pin_root_ = directory_ + "/grantd";
  make_interfaces(more);
  load(limits);
  apply();
  living_++;
}

PrivateNode::~PrivateNode() {
  applier_.reset();
  kernel_.reset();
  attacher_.reset();
  datapath_.reset();
  umount2(directory_.c_str(), MNT_DETACH);
  rmdir(directory_.c_str());
  if (--living_ > 0) {
    if (setns(network_before_.get(), CLONE_NEWNET) != 0) std::perror("PrivateNode: setns");
    return;
  }
  // It stays here, and what comes next finds no filters of clsact, which no pin holds.
  std::string links;
  for (const InterfaceFact& each : node_.interfaces) links += "link del " + each.name + "\\n";
  (void)!std::system(("printf '" + links + "' | ip -force -batch - 2>/dev/null").c_str());
}

std::uint32_t PrivateNode::ifindex(const std::string& interface) const { return if_nametoindex(interface.c_str()); }

void PrivateNode::make_interfaces(const std::vector<std::string>& more) {
  run("ip link set lo up");
  std::vector<std::string> interfaces = {"uplink0", "tail0"};
  for (const Workload& each : desired_.workloads) interfaces.push_back(each.interface);
  interfaces.insert(interfaces.end(), more.begin(), more.end());
  for (const std::string& each : interfaces) {
    run("ip link add " + each + " type veth peer name far" + std::to_string(node_.interfaces.size()));
    InterfaceFact fact;
    fact.name = each;
    fact.ifindex = ifindex(each);
    node_.interfaces.push_back(fact);
  }
  node_.uplink_rules = {{"uplink0", UplinkClass::Lan}, {"tail0", UplinkClass::Tailnet}};
}

void PrivateNode::restart(const Limits& limits) {
  applier_.reset();
  kernel_.reset();
  attacher_.reset();
  datapath_.reset();
  load(limits);
  apply();
}

void PrivateNode::load(const Limits& limits) {
  DatapathOptions options;
  options.pin_root = pin_root_;
  options.limits = limits;
  datapath_ = must(Datapath::load(options));
  attacher_ = std::make_unique<Attacher>(pin_root_, AttachMode::Auto);
  shaper_ = std::make_unique<PolicerShaper>(pin_root_);
  kernel_ = std::make_unique<BpfKernel>(*datapath_, *attacher_, *shaper_);
  applier_ = std::make_unique<Applier>(*kernel_);
}

std::size_t PrivateNode::drift() { return must(applier_->refresh(read_clock().boot_ns)); }

void PrivateNode::apply(bool look) {
  const Clock clock = read_clock();
  remembered_.now = remembered_.highest_seen = WallTime(std::chrono::nanoseconds(clock.wall_ns));
  remembered_.boot_now = clock.boot_ns;
  const TimeFacts time = remembered_ = latch(remembered_, desired_.grants);
  if (look) must(applier_->refresh(time.boot_now));
  PlanFacts facts;
  facts.now = time.boot_now;
  for (const InterfaceFact& each : node_.interfaces) facts.interfaces.insert(each.ifindex);
  facts.node = "node-a";
  facts.version = "test";
  facts.boot_to_wall_ns = static_cast<std::uint64_t>(clock.wall_of(0));
  facts.slots = datapath_->slots();
  node_.in_force = in_force(applier_->state());
  compiled_ = compile(desired_, node_, time, datapath_->limits());
  const ApplyReport report = applier_->apply(plan(applier_->state(), compiled_, facts), time.boot_now);
  for (const FailedStep& failed : report.failed)
    throw std::runtime_error(failed.operation + " " + failed.subject + ": " + failed.error.message);
}

bool PrivateNode::send(const std::string& guest, const std::string& address, const Probe& probe) {
  const Snapshot snapshot = must(read_snapshot(maps(), {}));
  const ResolvedEnds ends = must(resolve_ends(snapshot, {guest, std::nullopt}, {"", must(IpAddress::parse(address))}));
  MacAddress mac;
  std::copy(std::begin(ends.source.endpoint->mac), std::end(ends.source.endpoint->mac), mac.bytes.begin());
  return send_from(if_name(ends.source.endpoint->ifindex), mac, ends.source.address, address, probe);
}

bool PrivateNode::send_from(const std::string& interface, const MacAddress& mac, const IpAddress& source,
                            const std::string& address, const Probe& probe) {
  const auto frame = first_frame({mac, MacAddress{{2, 0, 0, 0, 0, 9}}, source, must(IpAddress::parse(address))}, probe);
  __sk_buff context{};
  context.ifindex = ifindex(interface);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame.data();
  options.data_size_in = static_cast<__u32>(frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.repeat = 1;
  must(bpf_prog_test_run_opts(datapath_->programs().at(Hook::FromGuest).fd, &options) == 0, "test run");
  return static_cast<int>(options.retval) != TC_ACT_SHOT;
}

}  // namespace grantd
