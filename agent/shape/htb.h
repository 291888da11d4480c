// Queues in an HTB qdisc: a class for each limited Grant and direction, in it one for each guest; in that a fifo, or
// SFQ, where the kernel has it, for the flows of what a guest sends.
#pragma once

#include "agent/shape/shaper.h"

namespace grantd {

class HtbShaper final : public Shaper {
 public:
  explicit HtbShaper(std::string pin_root) : pin_root_(std::move(pin_root)) {}
  grantd_shaper_mode mode() const override { return GRANTD_SHAPER_HTB; }
  Result<void> make() override;
  Result<ShaperState> read() override;
  Result<ShaperState> refresh(const ShaperState& known) override;
  Result<void> put_class(std::uint32_t minor, const QueueClass& wanted) override;
  Result<void> remove_class(std::uint32_t minor) override;
  Result<void> remove() override;

  bool fair_queues() const { return fair_queues_; }

 private:
  std::string pin_root_;
  bool fair_queues_ = false;  // found out by make()
};

}  // namespace grantd
