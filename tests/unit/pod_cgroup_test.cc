// Where the kubelet puts a pod's cgroup.
#include "agent/guests/pod_cgroup.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;

TEST(PodCgroup, IsWhereTheKubeletPutsIt) {
  EXPECT_THAT(pod_cgroup_paths("a-b", GuestPod::Qos::Guaranteed),
              ElementsAre("kubepods/poda-b", "kubepods.slice/kubepods-poda_b.slice"));
  EXPECT_THAT(pod_cgroup_paths("a-b", GuestPod::Qos::BestEffort),
              ElementsAre("kubepods/besteffort/poda-b",
                          "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice"));
}

}  // namespace
}  // namespace grantd
