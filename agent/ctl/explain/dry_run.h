// The datapath itself, loaded a second time to judge packets that nobody sent: on the live maps, and
// without leaving a flow, counter, token or event behind.
#pragma once

#include "agent/ctl/explain/second_instance.h"
#include "maps/abi/counter.h"
#include "maps/result.h"
#include "maps/stamp_settings.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// One packet at one hook.
struct DryPacket {
  std::vector<std::uint8_t> frame;
  std::uint32_t ifindex = 0;          // must exist in this network namespace
  std::uint32_t ingress_ifindex = 0;  // through which it came in; 0: it originated here
  std::uint32_t mark = 0;
  std::uint32_t gso_size = 0, gso_segs = 0;  // of a packet that is still to be cut into segments
};

struct DryVerdict {
  std::uint32_t action = 0;  // what the program returned: TC_ACT_UNSPEC for the next program, TC_ACT_SHOT
  std::uint32_t mark = 0;    // afterwards
  grantd_explanation explanation{};
};

class DryRun {
 public:
  // The stamp's settings must be those of the instance that runs.
  static Result<std::unique_ptr<DryRun>> load(const std::string& pin_root, const StampSettings& stamp);
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

  Result<DryVerdict> from_guest(const DryPacket& packet);
  Result<DryVerdict> to_guest(const DryPacket& packet);
  Result<DryVerdict> from_uplink(const DryPacket& packet);

 private:
  explicit DryRun(SecondInstance instance) : skeleton_(std::move(instance)) {}
  Result<DryVerdict> run(int program_fd, const char* name, const DryPacket& packet);

  SecondInstance skeleton_;
};

}  // namespace grantd
