#include "tests/model/run.h"

#include "agent/snapshot/snapshot.h"

#include <optional>

namespace grantd::model {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

// Frames before a Grant ends or begins, shortly before, and after.
void cross_an_edge(Random& random, const World& world, Generator& generator, const std::vector<Talk>& talks,
                   std::vector<Step>& steps) {
  std::vector<Step> frames;
  for (const Talk& talk : talks)
    for (const bool egress : {true, false}) frames.push_back(generator.opening(talk, egress));
  Step near, wait;
  near.kind = Step::Kind::Near;
  for (const GuestSpec& guest : world.guests)
    if (guest.name == talks.front().guest) near.grant = guest.grant;
  near.edge = random.of({Edge::Begin, Edge::End, Edge::EndOfNotice});
  wait.kind = Step::Kind::Wait;
  for (const Step& between : {near, wait}) {
    steps.insert(steps.end(), frames.begin(), frames.end());
    steps.push_back(between);
  }
  steps.insert(steps.end(), frames.begin(), frames.end());
}

}  // namespace

Trial packets_trial(std::uint64_t seed, std::size_t packets) {
  Random random(seed);
  const bool narrow = random.percent(15);
  const unsigned heavy = narrow ? 20 : 2;
  Trial trial{narrow ? random_narrow_world(random) : random_world(random), {}};
  Generator generator(random, trial.world);
  for (std::size_t count = 0; count < packets; count++)
    trial.steps.push_back(
        random.percent(heavy)
            ? generator.heavy(random.percent(70) ? generator.likely_talk() : generator.talk(), random.percent(50))
            : generator.any());
  return trial;
}

Trial sequence_trial(std::uint64_t seed) {
  Random random(seed);
  const bool narrow = random.percent(8);
  Trial trial{narrow ? random_narrow_world(random) : random_world(random), {}};
  World world = trial.world;
  std::optional<Generator> generator(std::in_place, random, world);
  std::vector<Talk> talks;
  const auto begin_talk = [&] {
    talks.push_back(narrow && random.percent(80) ? generator->likely_talk() : generator->talk());
  };
  for (std::size_t count = 1 + random.below(3); count > 0; count--) begin_talk();
  // What was said goes on; what is new knows the world as it is now.
  const auto has_changed = [&](Step& step) {
    step.kind = Step::Kind::Change;
    step.world = world;
    generator.emplace(random, world);
    if (talks.size() < 6 && random.percent(50)) begin_talk();
  };
  // A bucket takes many packets to get empty.
  const std::size_t length = narrow ? 60 + random.below(60) : 10 + random.below(40);
  while (trial.steps.size() < length) {
    const std::size_t chance = random.below(1000);
    Step step;
    if (narrow && random.percent(60)) {
      step = generator->heavy(random.of(talks), random.percent(70));
    } else if (narrow && chance < 15) {
      change_limit(random, random.of(world.grants));
      has_changed(step);
    } else if (chance < 60) {
      change_world(random, world);
      has_changed(step);
    } else if (chance < 64 && trial.steps.size() > 2) {
      world = trial.world;  // back to how it was
      has_changed(step);
    } else if (chance < 67 && !narrow) {
      cross_an_edge(random, world, *generator, talks, trial.steps);
      continue;
    } else if (chance < 100) {
      step.kind = Step::Kind::Age;
      step.by_ns = random.of<std::uint64_t>({7, 25, 40, 100, 130, 200, 3700, 90000}) * kSecond;
    } else if (chance < 120) {
      step.kind = Step::Kind::Forget;
      step.pick = random.below(64);
    } else if (chance < 121 && random.below(3) == 0) {  // rare: the verifier takes a second for it
      step.kind = Step::Kind::Restart;
    } else if (chance < 160) {
      step = generator->any();
    } else if (chance < 330) {
      step = generator->opening(random.of(talks), random.percent(60));
    } else if (chance < 440) {
      step = generator->piece(random.of(talks), random.percent(50));
    } else if (chance < 520) {
      step = generator->complaint(random.of(talks), random.percent(50));
    } else {
      step = generator->packet(random.of(talks), random.percent(50));
    }
    trial.steps.push_back(step);
  }
  return trial;
}

std::optional<Found> play(Duel& duel, const Trial& trial) {
  duel.begin(trial.world);
  for (std::size_t at = 0; at < trial.steps.size(); at++) {
    if (auto found = duel.play(trial.steps[at])) return Found{*found, at};
    if (duel.undecided()) return {};
  }
  if (auto found = duel.settle()) return Found{*found, trial.steps.size()};
  return {};
}

FoundCase found_case(Duel& duel, const Trial& trial, const std::string& name) {
  FoundCase made{name, manifests(trial.world), {}, ""};
  std::vector<std::pair<std::size_t, Counted>> counted;
  const auto tell = [&](const Disagreement& found) {
    made.note = "the datapath says " + std::string(reason_label(found.kernel)) + ": " + found.what;
  };
  try {
    duel.begin(trial.world);
    for (const Step& step : trial.steps) {
      const auto found = duel.play(step);
      const Opinion& opinion = duel.opinion();
      switch (step.kind) {
        case Step::Kind::Change:
          made.steps.emplace_back(manifests(step.world));
          break;
        case Step::Kind::Age:
          if (duel.aged_by()) made.steps.push_back(aged(duel.aged_by()));
          break;
        case Step::Kind::Forget:
          if (!duel.forgotten().empty()) made.steps.push_back(forgotten(duel.forgotten()));
          break;
        case Step::Kind::Send:
          if (!duel.judged()) break;
          made.steps.emplace_back(step);
          made.steps.back().reason = opinion.reason;
          if (reason_passes(opinion.reason) &&
              (step.program == Program::FromUplink || (found && step.program == Program::FromGuest)))
            made.steps.back().stamp = symbol_of(opinion.stamp, duel.suffix());
          if (step.program != Program::FromUplink || !reason_passes(opinion.reason))
            counted.emplace_back(made.steps.size() - 1, Counted{opinion.packets, opinion.bytes});
          break;
        default:
          made.steps.emplace_back(step);
      }
      if (found) {
        tell(*found);
        return made;
      }
    }
    if (const auto found = duel.undecided() ? std::nullopt : duel.settle()) {
      tell(*found);
      for (const auto& [at, must_be] : counted) made.steps[at].counted = must_be;
    }
  } catch (const std::exception& error) {
    made.note = "what comes next ends with: " + std::string(error.what());
  }
  return made;
}

std::string row(Duel& duel, const Trial& trial, const std::string& name) {
  return text_of(found_case(duel, trial, name));
}

}  // namespace grantd::model
