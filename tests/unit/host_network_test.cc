// Workloads on the host network: what they say of addresses.
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class HostNetwork : public testing::Test {
 protected:
  HostNetwork() { desired_.grants = {desired::grant("g", {"192.168.1.0/24:443/TCP"})}; }

  void add(const std::string& name, const std::string& address) {
    Workload& host = desired_.workloads.emplace_back(desired::workload(name, "g", "", {address}));
    host.cgroup = "machine.slice/" + name;
    node_.cgroup_ids[host.cgroup] = 70 + desired_.workloads.size();
  }
  CompiledPolicy compiled() const { return compile(desired_, node_, {}); }

  DesiredState desired_ = desired::world();
  NodeFacts node_ = desired::node();  // 192.168.1.5
};

TEST_F(HostNetwork, AnAddressOpensNothingToItsSiblings) {
  desired_.workloads = {desired::workload("web", "g", "veth-a", {"192.168.1.20"})};
  const auto grants = [&] {
    std::vector<std::string> addresses;
    for (const CompiledPrefix& each : compiled().prefixes)
      if (each.identity.kind == IdentityName::Kind::Grant) addresses.push_back(each.prefix.text());
    return addresses;
  };
  const std::vector<std::string> before = {"192.168.1.20/32"};
  ASSERT_EQ(grants(), before) << "the control: an address of its own";
  add("host", "192.168.1.5");
  add("another", "198.51.100.7");
  EXPECT_EQ(grants(), before);
}

TEST_F(HostNetwork, AnAddressHasNoEffectWhichIsSaid) {
  add("host", "192.168.1.5");
  add("another", "192.168.1.5");
  const CompiledPolicy policy = compiled();
  ASSERT_EQ(policy.endpoints.size(), 2U);
  EXPECT_THAT(policy.endpoints, Each(AllOf(Field(&CompiledEndpoint::grant, "keystone-system/g"),
                                           Field(&CompiledEndpoint::addresses, IsEmpty()))));
  EXPECT_THAT(policy.problems.front().text(), AllOf(HasSubstr("spec.addresses[0]"), HasSubstr("192.168.1.5"),
                                                    HasSubstr("has no effect on the host network")));
}

}  // namespace
}  // namespace grantd
