// The real kernel behind agent/apply/kernel.h.
#pragma once

#include "agent/apply/datapath.h"
#include "agent/apply/kernel.h"
#include "agent/attach/attacher.h"
#include "agent/shape/shaper.h"

namespace grantd {

class BpfKernel final : public Kernel {
 public:
  // All must outlive it.
  BpfKernel(Datapath& datapath, Attacher& attacher, Shaper& shaper)
      : datapath_(datapath), attacher_(attacher), shaper_(shaper) {}
  Result<void> perform(const Operation& operation) override;
  Result<KernelState> read() override;
  Result<operation::PutRules> read_rules(std::uint32_t rules_id, const RuleSet& rules) override;
  Result<std::set<Attachment>> read_attachments() override;
  Result<ShaperState> read_shaper(const ShaperState& known) override { return shaper_.refresh(known); }

 private:
  // A guest's interface whose program cannot be attached is set down, and up again once it can.
  Result<void> attach(const Attachment& attachment);

  Datapath& datapath_;
  Attacher& attacher_;
  Shaper& shaper_;
  std::set<std::uint32_t> down_;  // interfaces that we set down
};

}  // namespace grantd
