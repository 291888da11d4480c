// Time that passes over the end or the begin of a Grant, with nobody doing anything.
#include "tests/model/duel.h"

#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"

#include <algorithm>
#include <thread>

namespace grantd::model {

// Ends that manifests name are full seconds; a test that waits for them would take as long.
std::optional<Disagreement> Duel::bring_near(const std::string& grant, Edge edge) {
  // Some packets have to come before; publishing takes its time, too.
  constexpr std::chrono::milliseconds kAhead{60};
  edges_.push_back(wall_at(boot_now()) + with_patience(kAhead));
  passed_before_edge_.clear();
  held_before_edge_.clear();
  if (edge == Edge::EndOfNotice) {
    const WallTime seen = edges_.back() - kNotice;
    node_->saw_revocation("ns/" + grant, seen);
    notices_["ns/" + grant] = {seen};
  }
  node_->apply(with_edge(node_->desired(), grant, edge, edges_.back()));
  return look();
}

// The end is reckoned from when the revocation was first seen, and an edit can only bring it nearer, until the Grant is
// there and not revoked.
void Duel::keep_notices() {
  for (const Grant& grant : node_->desired().grants) {
    if (!grant.revoked) {
      notices_.erase(grant.key());
      continue;
    }
    Notice& notice = notices_.try_emplace(grant.key(), Notice{node_->applied_at()}).first->second;
    notice.ends = std::min(notice.ends, notice.seen + grant.notice_period);
  }
}

std::map<std::string, WallTime> Duel::notice_ends() const {
  std::map<std::string, WallTime> ends;
  for (const auto& [grant, notice] : notices_) ends[grant] = notice.ends;
  return ends;
}

void Duel::wait() {
  if (edges_.empty()) return;
  std::this_thread::sleep_for(*std::max_element(edges_.begin(), edges_.end()) - wall_at(boot_now()) + kOffEdge);
}

// No packet is sent so shortly before that it may be judged after it.
void Duel::keep_off_edges() const {
  for (const WallTime edge : edges_) {
    const auto ahead = edge - wall_at(boot_now());
    if (ahead < 3 * kOffEdge && ahead > -kOffEdge) std::this_thread::sleep_for(ahead + kOffEdge);
  }
}

bool Duel::is_at_edge(BootNanoseconds begin, BootNanoseconds end) const {
  if (edges_.empty()) return false;
  return std::any_of(edges_.begin(), edges_.end(), [&, from = wall_at(begin), to = wall_at(end)](WallTime edge) {
    return from < edge + kOffEdge / 2 && to > edge - kOffEdge / 2;
  });
}

void Duel::note_edges(const Step& step, Reason reason) {
  if (edges_.empty()) return;
  const Frame frame{step.interface, step.frame};
  if (wall_at(boot_now()) < edges_.back()) {
    if (reason_passes(reason)) passed_before_edge_.insert(frame);
    if (reason == GRANTD_REASON_NOT_YET_VALID) held_before_edge_.insert(frame);
    return;
  }
  counts_.ended +=
      (reason == GRANTD_REASON_EXPIRED || reason == GRANTD_REASON_REVOKED) && passed_before_edge_.contains(frame);
  counts_.begun += reason_passes(reason) && held_before_edge_.contains(frame);
}

}  // namespace grantd::model
