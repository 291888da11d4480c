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
  Result<Attachments> read_attachments() override;
  // Before the process ends, and with it each link that has no pin: gives it one, or sets the guest's interface down.
  // What could not be pinned is an error.
  Result<void> leave();
  // A guest's interface that could neither be attached nor set down, when either was last tried.
  bool is_open(std::uint32_t ifindex) const { return open_.contains(ifindex); }
  Result<ShaperState> read_shaper(const ShaperState& known) override { return shaper_.refresh(known); }

 private:
  // A guest's interface whose program cannot be attached is set down, and up again once it can.
  Result<void> attach(const Attachment& attachment);
  // On record too, for an agent after this one. Adds to `why` what became of it.
  void close_guest(std::uint32_t ifindex, Error& why);
  Result<void> open_guest(std::uint32_t ifindex);
  // Those that are held now, also where an agent before this one set them down.
  Result<void> open_attached(const std::set<Attachment>& attachments);

  Datapath& datapath_;
  Attacher& attacher_;
  Shaper& shaper_;
  bool knows_marked_ = false;
  std::set<std::uint32_t> closed_;  // interfaces that we set down, or an agent before
  std::set<std::uint32_t> open_;    // see is_open
};

}  // namespace grantd
