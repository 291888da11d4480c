// Which Grant governs a guest that is a pod. Depends on the time, so it is compile's.
#pragma once

#include "agent/compile/node_facts.h"

#include <map>
#include <string>
#include <vector>

namespace grantd {

struct ChosenGrant {
  std::string key;            // of the Grant; "" for quarantine
  std::string why;            // there is none, for a person; "" where there is
  Cause cause = Cause::None;  // of that
};

class GrantChoice {
 public:
  // `grants` outlives this.
  GrantChoice(const std::vector<Grant>& grants, const TimeFacts& time);

  // The one that the namespace's label names; else the one that the pod's own label names, among the active ones;
  // else the only active one. All of them are Grants of the pod's realm whose selector chooses it. Where there is a
  // single one and it is not active, that one: the datapath holds the guest closed under its name (decision 31).
  ChosenGrant of(const GuestPod& pod) const;
  // When the next of all Grants begins or ends, after now.
  BootNanoseconds next_edge() const { return next_edge_; }

 private:
  struct Candidate {
    const Grant* grant;
    bool active;
  };
  static ChosenGrant the_only_one(const GuestPod& pod, const std::vector<Candidate>& candidates);

  std::map<std::string, std::vector<Candidate>> by_realm_;
  BootNanoseconds next_edge_ = ~0ULL;
};

}  // namespace grantd
