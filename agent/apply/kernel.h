// The one door to the kernel. Tests put another behind it.
#pragma once

#include "agent/plan/operations.h"
#include "maps/result.h"

namespace grantd {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Does it, or changes nothing that opens anything. What is done already is no error.
  virtual Result<void> perform(const Operation& operation) = 0;
  // Everything that is there, anew.
  virtual Result<KernelState> read() = 0;
  // The rules of one rules_id whole; what has gone of them meanwhile is left out.
  virtual Result<operation::PutRules> read_rules(std::uint32_t rules_id, const RuleSet& rules) = 0;
  // What read() says of attachments, alone: interfaces come and go.
  virtual Result<Attachments> read_attachments() = 0;
  // The same of the queues' interfaces; `known` where they are those that it knows.
  virtual Result<ShaperState> read_shaper(const ShaperState& known) = 0;
};

}  // namespace grantd
