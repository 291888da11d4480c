// The datapath of this build, loaded a second time on the live maps and attached nowhere.
#pragma once

#include "maps/result.h"
#include "maps/stamp_settings.h"

#include <memory>
#include <string>

struct grantd_bpf;  // the skeleton

namespace grantd {

struct DestroySkeleton {
  void operator()(::grantd_bpf* skeleton) const;
};
using SecondInstance = std::unique_ptr<::grantd_bpf, DestroySkeleton>;

enum class Instance {
  DryRun,      // judges packets that nobody sent, and leaves nothing behind; without the programs on cgroups
  AsAttached,  // as the agent loads it: to be compared, never to be run
};

// The stamp's settings must be those of the instance that runs.
Result<SecondInstance> load_second_instance(const std::string& pin_root, const StampSettings& stamp, Instance instance);

}  // namespace grantd
