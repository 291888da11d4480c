// The real kernel behind agent/apply/kernel.h.
#pragma once

#include "agent/apply/datapath.h"
#include "agent/apply/kernel.h"
#include "agent/attach/attacher.h"

namespace grantd {

class BpfKernel final : public Kernel {
 public:
  // Both must outlive it.
  BpfKernel(Datapath& datapath, Attacher& attacher) : datapath_(datapath), attacher_(attacher) {}
  Result<void> perform(const Operation& operation) override;
  Result<KernelState> read() override;
  Result<std::set<Attachment>> read_attachments() override;

 private:
  // A guest's interface whose program cannot be attached is set down, and up again once it can.
  Result<void> attach(const Attachment& attachment);

  Datapath& datapath_;
  Attacher& attacher_;
  std::set<std::uint32_t> down_;  // interfaces that we set down
};

}  // namespace grantd
