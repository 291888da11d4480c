// What a disagreement does not need is left out: steps, worlds, what stands in them, fields.
#include "tests/model/run.h"

#include "agent/snapshot/snapshot.h"

#include <algorithm>

namespace grantd::model {
namespace {

// Those that a trial begins with and changes to.
std::vector<World*> worlds(Trial& trial) {
  std::vector<World*> all = {&trial.world};
  for (Step& step : trial.steps)
    if (step.kind == Step::Kind::Change) all.push_back(&step.world);
  return all;
}

World& world_before(Trial& trial, std::size_t step) {
  while (step-- > 0)
    if (trial.steps[step].kind == Step::Kind::Change) return trial.steps[step].world;
  return trial.world;
}

template <typename T>
void erase(std::vector<T>& list, std::size_t at, std::size_t count = 1) {
  const auto begin = list.begin() + static_cast<std::ptrdiff_t>(at);
  list.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(count, list.size() - at)));
}

class Shrinking {
 public:
  Shrinking(Duel& duel, Trial trial, const Disagreement& disagreement)
      : duel_(duel), trial_(std::move(trial)), disagreement_(disagreement) {}
  void leave_out_steps();
  void merge_worlds();
  void simplify_worlds();
  void simplify_steps();
  const Trial& trial() const { return trial_; }

 private:
  bool is_found_in(const Trial& smaller);
  // The edit stays where the sides then disagree as before.
  template <typename Edit>
  bool attempt(Edit edit) {
    Trial smaller = trial_;
    edit(smaller);
    if (!is_found_in(smaller)) return false;
    trial_ = std::move(smaller);
    return true;
  }
  template <typename ListOf>
  void leave_out(ListOf list_of) {
    for (std::size_t at = 0; at < list_of(trial_).size();)
      if (!attempt([&](Trial& one) { erase(list_of(one), at); })) at++;
  }
  // As a field is where nobody has set it.
  template <typename FieldOf>
  void clear(FieldOf field_of) {
    const std::remove_reference_t<decltype(field_of(trial_))> none{};
    if (field_of(trial_) != none) attempt([&](Trial& one) { field_of(one) = none; });
  }

  Duel& duel_;
  Trial trial_;
  const Disagreement& disagreement_;
};

bool Shrinking::is_found_in(const Trial& smaller) {
  try {
    const auto found = play(duel_, smaller);
    return found && found->disagreement.model == disagreement_.model &&
           found->disagreement.kernel == disagreement_.kernel;
  } catch (const std::exception&) {
    return false;  // a world that is refused
  }
}

void Shrinking::leave_out_steps() {
  for (std::size_t piece = trial_.steps.size() / 2; piece > 0; piece /= 2)
    for (std::size_t at = 0; at < trial_.steps.size();)
      if (!attempt([&](Trial& one) { erase(one.steps, at, piece); })) at += piece;
}

// A world may do for the steps before it, too.
void Shrinking::merge_worlds() {
  for (std::size_t at = trial_.steps.size(); at-- > 0;)
    if (trial_.steps[at].kind == Step::Kind::Change)
      attempt([&](Trial& one) {
        world_before(one, at) = one.steps[at].world;
        erase(one.steps, at);
      });
}

void Shrinking::simplify_worlds() {
  for (std::size_t number = 0; number < worlds(trial_).size(); number++) {
    const auto world = [&](Trial& one) -> World& { return *worlds(one)[number]; };
    leave_out([&](Trial & one) -> auto& { return world(one).guests; });
    leave_out([&](Trial & one) -> auto& { return world(one).grants; });
    for (std::size_t at = 0; at < world(trial_).guests.size(); at++)
      leave_out([&](Trial & one) -> auto& { return world(one).guests[at].addresses; });
    for (std::size_t at = 0; at < world(trial_).realms.size(); at++) {
      leave_out([&](Trial & one) -> auto& { return world(one).realms[at].addresses; });
      clear([&](Trial & one) -> auto& { return world(one).realms[at].uplinks; });
    }
    for (std::size_t at = 0; at < world(trial_).grants.size(); at++) {
      leave_out([&](Trial & one) -> auto& { return world(one).grants[at].destinations; });
      clear([&](Trial & one) -> auto& { return world(one).grants[at].from; });
      clear([&](Trial & one) -> auto& { return world(one).grants[at].time; });
      clear([&](Trial & one) -> auto& { return world(one).grants[at].bandwidth; });
    }
    leave_out([&](Trial & one) -> auto& { return world(one).realms; });  // destinations may name them
  }
}

void Shrinking::simplify_steps() {
  for (std::size_t at = 0; at < trial_.steps.size(); at++) {
    const auto by_ns = [&](Trial & one) -> auto& { return one.steps[at].by_ns; };
    while (by_ns(trial_) > 0)
      if (!attempt([&](Trial& one) { by_ns(one) = by_ns(one) / 2 / GRANTD_NS_PER_SECOND * GRANTD_NS_PER_SECOND; }))
        break;
    clear([&](Trial & one) -> auto& { return one.steps[at].mark; });
    clear([&](Trial & one) -> auto& { return one.steps[at].who; });
    clear([&](Trial & one) -> auto& { return one.steps[at].gso_bytes; });
    clear([&](Trial & one) -> auto& { return one.steps[at].gso_segments; });
    clear([&](Trial & one) -> auto& { return one.steps[at].neighbour; });
    const auto frame = [&](Trial & one) -> auto& { return one.steps[at].frame; };
    while (frame(trial_).size() > 34)
      if (!attempt([&](Trial& one) { frame(one).resize(frame(one).size() - 4); })) break;
  }
}

}  // namespace

Trial shrink(Duel& duel, Trial trial, const Disagreement& disagreement) {
  Shrinking shrinking(duel, std::move(trial), disagreement);
  shrinking.leave_out_steps();
  shrinking.merge_worlds();
  shrinking.simplify_worlds();
  shrinking.simplify_steps();
  return shrinking.trial();
}

}  // namespace grantd::model
