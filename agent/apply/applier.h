// Carries a plan out, and knows what the kernel holds.
#pragma once

#include "agent/apply/kernel.h"
#include "agent/plan/plan.h"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

struct FailedStep {
  std::string operation;  // as in metrics
  std::string subject;
  Error error;
};

struct ApplyReport {
  std::size_t done = 0, left_out = 0;
  std::set<std::string> postponed;  // subjects of guests that wait for their turn, of what is left out
  std::vector<FailedStep> failed;
  std::set<std::string> due;                 // subjects of all that was not done
  std::vector<std::uint32_t> closed;         // slots, for what narrows them could not be done
  std::vector<std::uint32_t> closed_guests;  // endpoint_id of those whose records could not be narrowed
  bool nobody_believed = false;              // on no uplink, for a tunnel's program could not be attached
  std::chrono::nanoseconds
      in_force{};  // from the beginning until the last step that enforces; not the names for people
  bool complete() const { return failed.empty() && left_out == 0; }
};

class Applier {
 public:
  explicit Applier(Kernel& kernel) : kernel_(kernel) {}

  // Takes what the kernel has as the state. Returns in how many places it was not as believed;
  // 0 for the first time.
  Result<std::size_t> refresh(BootNanoseconds now);
  // The same for attachments and queues alone, after interfaces came or went. What vanished with these is no drift, so
  // it returns in how many places the queues were not as believed.
  Result<std::size_t> refresh_attachments();
  // Steps in order. After one that fails, later ones of the same subject are left out; they stay
  // due, because the state that plan() starts from does not have them. Where one of those would have narrowed what is
  // in force, its slot or its guest is closed. Where one would have put a tunnel's program in place, no uplink believes
  // anybody.
  //
  // To attach a guest takes some 35 ms, for which everything else waits. `postpone` is asked before each: where it says
  // so, no more guests are attached, what else is planned is done, and they stay due.
  ApplyReport apply(const Plan& plan, BootNanoseconds now, const std::function<bool()>& postpone = {});

  const KernelState& state() const { return state_; }
  const std::map<std::string, std::uint64_t>& errors_by_operation() const { return errors_; }

 private:
  // And takes it into the state.
  Result<void> perform(const Operation& operation, BootNanoseconds now);
  Result<void> make_as_many_as_fit(const operation::MakeTables& make, BootNanoseconds now);
  Result<operation::RenumberRules> with_what_stands_there(operation::RenumberRules renumber);
  Result<void> copy_rules(const operation::CopyRules& copy, BootNanoseconds now);
  // False where it should have been closed and stays open.
  bool leave_out(const Plan& plan, const Step& step, BootNanoseconds now, ApplyReport& report);
  bool leave_out_policy(const Plan& plan, const Step& step, BootNanoseconds now, ApplyReport& report);
  // `current`: what is in force, or null. Without a record nothing of a guest passes, and to remove one takes no
  // memory.
  bool leave_out_guest(const grantd_endpoint& wanted, const grantd_endpoint* current, const Operation& remove,
                       const Step& step, BootNanoseconds now, ApplyReport& report);
  // What comes out of a tunnel without our program bears the stamp of what it was inside of, so none is given. To
  // remove an uplink's record takes no memory.
  bool leave_out_tunnel(const Step& step, BootNanoseconds now, ApplyReport& report);
  bool close(const Operation& operation, const Step& step, BootNanoseconds now, ApplyReport& report);
  bool rules_open_as_much(const Plan& plan, const operation::Publish& publish);
  // Of one plan, found where a step failed.
  struct WantedRules {
    std::map<std::uint64_t, std::uint32_t> by_policy;
    std::map<std::uint32_t, const operation::PutRules*> by_id;
  };

  Kernel& kernel_;
  KernelState state_;
  bool fresh_ = true;
  std::map<std::string, std::uint64_t> errors_;
  std::optional<WantedRules> wanted_rules_;
};

}  // namespace grantd
