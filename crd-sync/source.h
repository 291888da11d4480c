// Where the desired state comes from. Both kinds, a directory of manifests and the API server, hand over the
// same immutable DesiredState, and neither is asked where it has it from.
#pragma once

#include "crd-sync/desired_state.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

class Source {
 public:
  virtual ~Source() = default;

  // "manifests" or "kubernetes", and where that is: for people.
  virtual const char* kind() const = 0;
  virtual std::string place() const = 0;

  // For one epoll loop: whenever one of them is readable, call drain().
  virtual std::vector<int> fds() const = 0;
  // True: something may have changed: load(). Never blocks.
  virtual bool drain() = 0;
  // Looks for changes that no event tells of; drain() gives true once one is found. To be called now and then.
  virtual void look() {}

  // Everything as it is now. Nothing: it is not known yet, and nothing may be concluded from that.
  virtual std::optional<DesiredState> load() = 0;

  // What has kept it for some time now from knowing more. Empty: nothing.
  virtual std::vector<Problem> troubles() const { return {}; }

  // Writes what load() took for good to the state directory, if it differs from what is there. Apart
  // from load(), so that no edit waits for the disk: call it once the edit is in force. What went
  // wrong is to be told; the next call tries again.
  virtual std::optional<Problem> keep() = 0;
};

}  // namespace grantd
