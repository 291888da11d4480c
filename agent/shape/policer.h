// No queues: what is above the rate drops. The bucket itself is in bpf/bucket.h.
#pragma once

#include "agent/shape/htb.h"

namespace grantd {

class PolicerShaper final : public Shaper {
 public:
  explicit PolicerShaper(std::string pin_root) : left_(std::move(pin_root)) {}
  grantd_shaper_mode mode() const override { return GRANTD_SHAPER_POLICER; }
  Result<void> make() override { return {}; }
  Result<ShaperState> read() override { return left_.read(); }
  Result<ShaperState> refresh(const ShaperState& known) override { return left_.refresh(known); }
  Result<void> put_class(std::uint32_t, const QueueClass&) override { return Error{"a policer has no queues", 0}; }
  Result<void> remove_class(std::uint32_t minor) override { return left_.remove_class(minor); }
  Result<void> remove() override { return left_.remove(); }

 private:
  HtbShaper left_;  // of an earlier agent, for as long as something stands there
};

}  // namespace grantd
