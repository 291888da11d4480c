#include "agent/status/gaps.h"

namespace grantd {
namespace {

class Finder {
 public:
  Gaps run(const Plan& plan) {
    for (const Step& step : plan.steps) {
      subject_ = &step.subject;
      std::visit(*this, step.operation);
    }
    return std::move(gaps_);
  }

  void operator()(const operation::Attach& step) {
    switch (step.attachment.hook) {
      case Hook::FromGuest:
        return missing("from the guest", step.attachment.ifindex);
      case Hook::ToGuest:
        return missing("to the guest", step.attachment.ifindex);
      case Hook::FromUplink:
        return node({GapKind::ProgramMissing, *subject_ + ": the program that tells who sends is not attached"});
      case Hook::FromQueue:  // what waits is dropped there; the guest is no freer for it
        return node({GapKind::ProgramMissing, *subject_ + ": the program behind the queues is not attached"});
      default:
        return add({GapKind::ProgramMissing, "a program is not attached to its cgroup"});
    }
  }
  void operator()(const operation::MakeTables& step) {
    for (const std::uint32_t slot : step.slots)
      gaps_.by_slot[slot].push_back({GapKind::TableMissing, "its tables of flows and counters are not there"});
  }
  void operator()(const operation::PutRules&) { other_policy(); }
  void operator()(const operation::RenumberRules&) { other_policy(); }
  void operator()(const operation::CopyRules&) { other_policy(); }
  void operator()(const operation::PutPolicy&) { other_policy(); }
  void operator()(const operation::Publish& step) {
    if (step.policy_id == 0) return add({GapKind::StillInForce, "its policy is in force, and should not be"});
    other_policy();
  }
  void operator()(const operation::PutEndpoint&) { other_record(); }
  void operator()(const operation::RemoveEndpoint&) { other_record(); }
  void operator()(const operation::PutHostGuest&) { other_record(); }
  void operator()(const operation::RemoveHostGuest&) { other_record(); }
  void operator()(const operation::PutPrefixes&) { other_prefixes(); }
  void operator()(const operation::RemovePrefixes&) { other_prefixes(); }
  void operator()(const operation::PutUplink&) { other_uplink(); }
  void operator()(const operation::RemoveUplink&) { other_uplink(); }
  // Numbers and names, and what nothing uses any more.
  void operator()(const operation::PutNode&) {}
  void operator()(const operation::Detach&) {}
  void operator()(const operation::RemoveTables&) {}
  void operator()(const operation::PutSources&) {}
  void operator()(const operation::CopySources&) {}
  void operator()(const operation::RemoveRules&) {}
  void operator()(const operation::RemovePolicy&) {}
  void operator()(const operation::PutSlotName&) {}
  void operator()(const operation::RemoveSlotName&) {}
  void operator()(const operation::PutIdentityName&) {}
  void operator()(const operation::RemoveIdentityName&) {}
  void operator()(const operation::PutGuest&) {}
  void operator()(const operation::RemoveGuest&) {}
  void operator()(const operation::PutBounds&) {}
  // The bucket holds the limit without queues.
  void operator()(const operation::MakeQueues&) {}
  void operator()(const operation::RemoveQueues&) {}
  void operator()(const operation::PutShaper&) {}
  void operator()(const operation::PutClass&) {}
  void operator()(const operation::RemoveClass&) {}
  void operator()(const operation::PutQueue&) {}
  void operator()(const operation::RemoveQueue&) {}
  void operator()(const operation::PutDevice&) {
    add({GapKind::RecordDiffers,
         *subject_ + ": it is not on record for what comes back from the queues, which is dropped"});
  }
  void operator()(const operation::RemoveDevice&) {}

 private:
  void add(Gap gap) { gaps_.by_subject[*subject_].push_back(std::move(gap)); }
  void node(Gap gap) { gaps_.of_node.push_back(std::move(gap)); }
  void missing(const char* direction, std::uint32_t ifindex) {
    add({GapKind::ProgramMissing, *subject_ + ": the program for packets " + direction +
                                      " is not attached to interface " + std::to_string(ifindex)});
  }
  void other_policy() { add({GapKind::PolicyDiffers, "the policy in force is not the one that should be"}); }
  void other_record() {
    add({GapKind::RecordDiffers, *subject_ + ": the record of its interface is not as it should be"});
  }
  void other_prefixes() { node({GapKind::RealmsDiffer, "the addresses of Realms are not all in force"}); }
  void other_uplink() { node({GapKind::UplinkDiffers, *subject_ + ": its record is not as it should be"}); }

  Gaps gaps_;
  const std::string* subject_ = nullptr;
};

}  // namespace

const char* gap_name(GapKind kind) {
  switch (kind) {
    case GapKind::ProgramMissing:
      return "ProgramMissing";
    case GapKind::TableMissing:
      return "TableMissing";
    case GapKind::PolicyDiffers:
      return "PolicyDiffers";
    case GapKind::RecordDiffers:
      return "RecordDiffers";
    case GapKind::RealmsDiffer:
      return "RealmsDiffer";
    case GapKind::UplinkDiffers:
      return "UplinkDiffers";
    case GapKind::StillInForce:
      return "StillInForce";
    case GapKind::GuestsWait:
      return "GuestsWait";
    case GapKind::GateMissing:
      return "GateMissing";
  }
  return "";
}

Gaps gaps_of(const Plan& plan) { return Finder().run(plan); }

}  // namespace grantd
