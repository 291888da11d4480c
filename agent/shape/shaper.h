// Where packets of limited Grants wait for their turn. The bucket in the datapath holds the limit in every mode; a
// shaper only spares the guest its drops.
#pragma once

#include "agent/plan/kernel_state.h"
#include "maps/result.h"

#include <memory>
#include <string>

namespace grantd {

class Shaper {
 public:
  virtual ~Shaper() = default;
  virtual grantd_shaper_mode mode() const = 0;
  // Makes what the queues stand on, where it is not there. Nothing waits in it yet.
  virtual Result<void> make() = 0;
  // What is there, of any mode: a queue that another agent left is to be taken away.
  virtual Result<ShaperState> read() = 0;
  // `known` where the interfaces are still those that it knows: their classes are not read again.
  virtual Result<ShaperState> refresh(const ShaperState& known) = 0;
  // Makes a class, or changes it in place: what waits in it goes on waiting.
  virtual Result<void> put_class(std::uint32_t minor, const QueueClass& wanted) = 0;
  // With what waits in it. What is not there is no error.
  virtual Result<void> remove_class(std::uint32_t minor) = 0;
  // All of it.
  virtual Result<void> remove() = 0;
};

enum class ShaperSetting { Auto, Htb, Policer };

struct ChosenShaper {
  std::unique_ptr<Shaper> shaper;
  std::string why;  // this mode
};

// Auto: queues where the kernel has what they need, found out by making them; else the bucket alone. An error where
// the setting names a mode that does not work here.
Result<ChosenShaper> choose_shaper(ShaperSetting setting, const std::string& pin_root);

// Removes the queues of the agent with this pin root, whatever their mode.
Result<void> remove_shaper(const std::string& pin_root);

}  // namespace grantd
