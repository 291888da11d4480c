// The links that this agent holds by descriptors of its own, so that one whose pin somebody removes stands until it has
// a pin again, and one that could not be pinned holds its guest all the same.
#pragma once

#include "agent/attach/pinned_links.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// As many as the kernel lets this process have: each link is one.
Result<void> allow_many_descriptors();

// Where links without a pin stand, which end with this process. With an error it may be more of them, or fewer, by one
// whose place the kernel does not tell.
struct UnpinnedLinks {
  std::vector<Attachment> places;
  std::optional<Error> error;
};

class KeptLinks {
 public:
  // Where the process may have that many: half of its descriptors at most, as listing the links takes as many again.
  Result<void> keep(Hook hook, const Descriptor& link);
  // However many there are.
  Result<void> keep_unpinned(Hook hook, Descriptor link);
  // What live_links() gives, with the links that had lost their pins; makes the directory where it is gone. Keeps them
  // all, and lets go of those whose interface or cgroup is gone. Needs the directory's lock.
  Result<std::vector<PinnedLink>> pin_again(const std::string& directory);
  // One without a pin that stands there; kept no longer. Not valid where there is none.
  Result<Descriptor> take_unpinned(const Attachment& attachment);
  // Ends all that stand there.
  Result<void> detach(const Attachment& attachment);
  // As pin_again() found them; where it `failed`, as they are seen in the directory, without its lock. All, where that
  // cannot be read.
  UnpinnedLinks unpinned(const std::string& directory, std::optional<Error> failed);
  // How many had lost their pins since this was asked.
  std::size_t take_lost_pins() { return std::exchange(lost_pins_, 0); }

 private:
  struct Kept {
    Hook hook;
    Descriptor link;
    bool pinned;
  };
  std::map<std::uint32_t, Kept> links_;  // by the kernel's number of each
  std::size_t lost_pins_ = 0;
};

}  // namespace grantd
