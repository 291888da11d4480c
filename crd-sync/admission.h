// From objects that are good by themselves to objects that are good together. An object that is
// refused is replaced by its last good version, where there is one.
#pragma once

#include "crd-sync/desired_state.h"
#include "crd-sync/last_good.h"

#include <memory>
#include <vector>

namespace grantd {

struct Admitted {
  DesiredState desired;
  // To be kept: what stands in `desired`, and of Realms of which nothing can stand the version that did before.
  LastGood last_good;
};

// Pure. `reads`: all files, in order, each in one part or several. Of a file that cannot be read
// all that was kept stays. `protected_ranges`: this node's, of pods and services; no Realm may lie there.
Admitted admit(const std::vector<std::shared_ptr<const ReadResult>>& reads, const LastGood& last_good,
               const std::vector<IpPrefix>& protected_ranges = {});

}  // namespace grantd
