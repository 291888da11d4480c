// The parts of plan(), which share what they find out. One call of plan() makes one Planner.
#pragma once

#include "agent/plan/plan.h"

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

class Planner {
 public:
  Planner(const KernelState& kernel, const CompiledPolicy& wanted, const PlanFacts& facts);
  Plan run();

 private:
  // The order of the phases is the order of the steps.
  enum Phase { Close, Fill, PublishPhase, Open, Names, Retire, Phases };

  void add(Phase phase, std::string subject, Operation operation, After after = After::Nothing);
  void report(std::string object, std::string message, std::string accepted);

  // plan_numbers.cc: which slot, identity and id stands for which name.
  void recover_numbers();
  void begin_numbers();
  void assign_slots();
  void assign_identities();
  std::set<IdentityName> names_of_refused() const;
  void number_anew(const IdentityName& name, After after);
  void no_number_for(const IdentityName& name);
  bool loses_guests(const IdentityName& name, After after) const;
  bool renumber_losers();                                   // whether there are any
  std::uint32_t number_of(const IdentityName& name) const;  // 0 where there is none
  // The identity of a record that stays, where its number was somebody's; the same number otherwise.
  std::uint32_t renumbered(std::uint32_t number) const;
  std::uint64_t take_policy_id();
  std::uint64_t take_version();
  std::uint32_t take_endpoint_id();
  std::uint32_t take_rules_id();

  // plan_prefixes.cc
  void plan_prefixes();
  void lose_guests();

  // plan_grants.cc
  void plan_grants();
  void plan_grant(const CompiledGrant& grant, std::uint32_t slot);
  std::uint32_t plan_rules(const CompiledGrant& grant, const grantd_policy* current, const std::string& subject);
  bool touches_loser(const CompiledGrant& grant) const;
  bool names_anew(const CompiledGrant& grant, const grantd_policy& current) const;
  void keep_refused(const RefusedGrant& grant);
  std::vector<IpPrefix> unprotected(const RuleSet& rules) const;
  bool renumber(const std::string& subject, grantd_policy& policy);
  std::map<std::uint32_t, std::uint32_t> renumbered_in(const RuleSet& rules) const;
  bool differ_in_numbers_alone(const operation::PutRules& wanted, const RuleSet& have) const;
  bool end_sooner(const RefusedGrant& grant, grantd_policy& policy) const;
  void publish(const std::string& subject, std::uint32_t slot, const grantd_policy& policy, Narrows narrows,
               After after);
  void close(const std::string& subject, std::uint32_t slot);
  void release_slots();

  // plan_endpoints.cc
  void plan_endpoints();
  void plan_endpoint(const CompiledEndpoint& endpoint);
  void plan_closed(const CompiledEndpoint& endpoint);
  void attach_cgroup(const CompiledEndpoint& endpoint);
  void plan_host_guest(const CompiledEndpoint& endpoint, std::uint32_t slot, std::uint32_t endpoint_id);
  void close_abandoned_endpoints();
  void keep_closed_without_record(const std::set<std::uint32_t>& wanted);
  void close_abandoned_host_guests();
  bool is_a_guests(std::uint32_t ifindex) const;  // its programs stand there, whether it is still one or not
  void plan_uplinks();
  void attach(const Attachment& attachment, const std::string& subject, Narrows narrows = Narrows::No);
  void attach_guest(std::uint32_t ifindex, const std::string& subject);
  std::uint32_t slot_of(const CompiledEndpoint& endpoint) const;
  void put_guest(std::uint32_t endpoint_id, const grantd_guest& guest, const std::string& subject);

  // plan_queues.cc
  struct LimitedGuest {  // whose packets may wait, where its Grant is limited
    std::uint32_t endpoint_id, slot, ifindex;
    bool attached;  // before this plan, and so no other interface has come to its index
  };
  void plan_queues();
  void plan_shaper(bool usable);
  void want_queues(std::map<std::uint32_t, QueueClass>& classes, std::map<std::uint32_t, grantd_queue>& queues);
  struct TakenNumbers {
    std::set<std::uint32_t> numbers;
    std::uint32_t first_free = 0;  // none below is
  };
  std::uint32_t number_in_queues(const LimitedGuest& guest, TakenNumbers& taken) const;
  const grantd_policy* policy_after(std::uint32_t slot) const;  // in force after this plan

  // plan_retire.cc
  void retire();
  void retire_policies(std::set<std::uint64_t>& kept);
  void retire_rules(const std::set<std::uint64_t>& kept);
  void retire_slots(const std::set<std::uint64_t>& kept);
  void retire_names();
  void plan_node();

  const KernelState& kernel_;
  const CompiledPolicy& wanted_;
  const PlanFacts& facts_;
  Plan plan_;
  std::deque<Step> phases_[Phases];  // gives its memory back as it becomes the plan

  grantd_node node_;                            // with the numbers that this plan takes
  std::map<std::string, std::uint32_t> slots_;  // by Grant, accepted or refused
  std::set<std::string> wanted_grants_;         // accepted or refused
  std::map<IdentityName, std::uint32_t> identities_;
  std::set<std::uint32_t> numbers_in_use_;
  std::uint32_t next_identity_ = GRANTD_IDENTITY_FIRST;   // that may be free
  bool numbers_repeat_ = false;                           // a flow may bear one that was somebody else's
  bool unmarked_ = false;                                 // and that is still to be written down
  std::map<std::uint32_t, std::uint32_t> renumbered_;     // what was somebody's -> theirs now, or 0
  std::ptrdiff_t resting_ = 0;                            // numbers of Grants that have lost a guest
  std::set<std::uint32_t> losers_;                        // identities that lose addresses
  bool unsettled_ = false;                                // somebody lost some in a plan that was cut short
  std::map<std::uint32_t, std::uint64_t> published_;      // slot -> policy_id after this plan
  std::map<std::uint64_t, std::uint32_t> new_policies_;   // policy_id -> rules_id
  std::map<std::uint64_t, grantd_policy> made_policies_;  // the same, whole
  std::vector<LimitedGuest> limited_guests_;
  std::set<std::uint32_t> devices_;      // to which packets come back from queues after this plan
  std::set<std::uint32_t> used_slots_;   // by endpoints after this plan
  std::set<std::uint32_t> used_guests_;  // endpoint_ids after this plan
};

}  // namespace grantd
