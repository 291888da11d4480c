#include "tests/model/run.h"

#include "agent/snapshot/snapshot.h"

namespace grantd::model {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

Step change(Random& random, World& world) {
  Step step;
  step.kind = Step::Kind::Change;
  change_world(random, world);
  step.world = world;
  return step;
}

std::string hex(const Bytes& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

const char* reason_name(Reason reason) {
  switch (reason) {
#define GRANTD_MODEL_NAME(number, name, label, verdict, sentence) \
  case GRANTD_REASON_##name:                                      \
    return #name;
    GRANTD_REASONS(GRANTD_MODEL_NAME)
#undef GRANTD_MODEL_NAME
  }
  return "";
}

}  // namespace

Trial packets_trial(std::uint64_t seed, std::size_t packets) {
  Random random(seed);
  Trial trial{random_world(random), {}};
  Generator generator(random, trial.world);
  for (std::size_t count = 0; count < packets; count++) trial.steps.push_back(generator.any());
  return trial;
}

Trial sequence_trial(std::uint64_t seed) {
  Random random(seed);
  Trial trial{random_world(random), {}};
  World world = trial.world;
  Generator generator(random, trial.world);
  std::vector<Talk> talks;
  for (std::size_t count = 1 + random.below(3); count > 0; count--) talks.push_back(generator.talk());
  const std::size_t length = 10 + random.below(40);
  while (trial.steps.size() < length) {
    const std::size_t chance = random.below(1000);
    Step step;
    if (chance < 60) {
      step = change(random, world);
    } else if (chance < 64 && trial.steps.size() > 2) {
      step.kind = Step::Kind::Change;  // back to how it was
      step.world = world = trial.world;
    } else if (chance < 100) {
      step.kind = Step::Kind::Age;
      step.by_ns = random.of<std::uint64_t>({7, 25, 40, 100, 130, 200, 3700, 90000}) * kSecond;
    } else if (chance < 120) {
      step.kind = Step::Kind::Forget;
      step.pick = random.below(64);
    } else if (chance < 121 && random.below(3) == 0) {  // rare: the verifier takes a second for it
      step.kind = Step::Kind::Restart;
    } else if (chance < 160) {
      step = generator.any();
    } else if (chance < 330) {
      step = generator.opening(random.of(talks), random.percent(60));
    } else if (chance < 440) {
      step = generator.piece(random.of(talks), random.percent(50));
    } else if (chance < 520) {
      step = generator.complaint(random.of(talks), random.percent(50));
    } else {
      step = generator.packet(random.of(talks), random.percent(50));
    }
    trial.steps.push_back(step);
  }
  return trial;
}

std::optional<Found> play(Duel& duel, const Trial& trial) {
  duel.begin(trial.world);
  for (std::size_t at = 0; at < trial.steps.size(); at++)
    if (auto found = duel.play(trial.steps[at])) return Found{*found, at};
  if (auto found = duel.settle()) return Found{*found, trial.steps.size()};
  return {};
}

Trial shrink(Duel& duel, Trial trial, const Disagreement& disagreement) {
  const auto still = [&](const Trial& smaller) {
    try {
      const auto found = play(duel, smaller);
      return found && found->disagreement.model == disagreement.model &&
             found->disagreement.kernel == disagreement.kernel;
    } catch (const std::exception&) {
      return false;  // a world that is refused
    }
  };
  for (std::size_t piece = trial.steps.size() / 2; piece > 0; piece /= 2)
    for (std::size_t at = 0; at < trial.steps.size();) {
      Trial smaller = trial;
      const auto begin = smaller.steps.begin() + static_cast<std::ptrdiff_t>(at);
      smaller.steps.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(piece, smaller.steps.size() - at)));
      if (still(smaller))
        trial = smaller;
      else
        at += piece;
    }
  const auto without = [&](auto list_of) {
    for (std::size_t at = 0; at < list_of(trial).size();) {
      Trial smaller = trial;
      auto& list = list_of(smaller);
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
      if (still(smaller))
        trial = smaller;
      else
        at++;
    }
  };
  without([](Trial & one) -> auto& { return one.world.guests; });
  without([](Trial & one) -> auto& { return one.world.grants; });
  without([](Trial & one) -> auto& { return one.world.realms; });
  for (std::size_t at = 0; at < trial.world.grants.size(); at++)
    without([at](Trial & one) -> auto& { return one.world.grants[at].destinations; });
  for (std::size_t at = 0; at < trial.world.guests.size(); at++)
    without([at](Trial & one) -> auto& { return one.world.guests[at].addresses; });
  for (std::size_t at = 0; at < trial.world.realms.size(); at++)
    without([at](Trial & one) -> auto& { return one.world.realms[at].addresses; });
  for (std::size_t at = 0; at < trial.steps.size(); at++) {
    Trial smaller = trial;
    while (smaller.steps[at].frame.size() > 34) {
      smaller.steps[at].frame.resize(smaller.steps[at].frame.size() - 4);
      if (!still(smaller)) break;
      trial = smaller;
    }
  }
  return trial;
}

std::string row(Duel& duel, const Trial& trial, const std::string& name) {
  std::string text = "    {\"" + name + "\",\n     R\"(" + manifests(trial.world) + ")\",\n     {";
  static constexpr const char* programs[] = {"FromGuest", "ToGuest", "FromUplink"};
  duel.begin(trial.world);
  for (const Step& step : trial.steps) {
    const auto found = duel.play(step);
    if (step.kind == Step::Kind::Change) {
      text += "\n      {R\"(" + manifests(step.world) + ")\"},";
      continue;
    }
    if (step.kind != Step::Kind::Send) {
      text += "\n      // " + std::string(step.kind == Step::Kind::Age      ? "age " + std::to_string(step.by_ns)
                                          : step.kind == Step::Kind::Forget ? "forget " + std::to_string(step.pick)
                                                                            : "restart");
      continue;
    }
    text += "\n      {Program::" + std::string(programs[static_cast<int>(step.program)]) + ", \"" + step.interface +
            "\", " + (step.from_outside ? "true" : "false") + ", \"" + step.who + "\", \"" + hex(step.frame) +
            "\", GRANTD_REASON_" + reason_name(found ? found->model : duel.last_reason()) + "},";
    if (found) text += "  // the datapath says " + std::string(reason_label(found->kernel)) + ": " + found->what;
  }
  return text + "}},\n";
}

}  // namespace grantd::model
