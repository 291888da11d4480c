// Frames of a guest's, a peer's and an uplink's making, given to the programs in the kernel and to the reference model:
// they agree on the verdict, the reason, the mark and what is counted. libFuzzer sees the branches of the model.
// Needs root. An input is a row of frames, each as
//   hook and whether it came from outside, interface, who the mark says it is from (a byte each, modulo what there is),
//   length (2 bytes), frame
#include "tests/fuzz/must.h"
#include "tests/model/duel.h"
#include "tests/model/run.h"

#include "agent/snapshot/snapshot.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace grantd::model {

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

constexpr std::size_t kHead = 5, kMostFrames = 16, kMostFrameBytes = 1514;
constexpr Program kPrograms[] = {Program::FromGuest, Program::ToGuest, Program::FromUplink};

// Without limits: what a bucket holds is a question of when, and an input must mean the same tomorrow.
World make_world() {
  Random random(2);
  World world = random_world(random);
  for (GrantSpec& grant : world.grants) grant.bandwidth.clear();
  return world;
}

const World& world() {
  static const World made = make_world();
  return made;
}

std::vector<std::string> interfaces(Program program) {
  std::vector<std::string> names;
  if (program == Program::FromUplink) return {std::begin(kUplinks), std::end(kUplinks)};
  for (const char* guest : kGuests) names.push_back(std::string("veth-") + guest);
  return names;
}

std::vector<std::string> everybody() {
  std::vector<std::string> all = {""};
  for (const RealmSpec& realm : world().realms) all.push_back("realm:" + realm.name);
  for (const GrantSpec& grant : world().grants) all.push_back("grant:" + grant.name);
  return all;
}

template <typename T>
std::uint8_t place_of(const std::vector<T>& all, const T& one) {
  const auto found = std::find(all.begin(), all.end(), one);
  return static_cast<std::uint8_t>(found == all.end() ? 0 : found - all.begin());
}

std::vector<Step> read_steps(const std::uint8_t* data, std::size_t size) {
  std::vector<Step> steps;
  const std::vector<std::string> all = everybody();
  while (size >= kHead && steps.size() < kMostFrames) {
    Step step;
    step.program = kPrograms[data[0] % std::size(kPrograms)];
    step.from_outside = data[0] / std::size(kPrograms) % 2 != 0;
    const auto names = interfaces(step.program);
    step.interface = names[data[1] % names.size()];
    step.who = all[data[2] % all.size()];
    const std::size_t length =
        std::min({static_cast<std::size_t>(data[3] << 8 | data[4]), size - kHead, kMostFrameBytes});
    step.frame.assign(data + kHead, data + kHead + length);
    data += kHead + length;
    size -= kHead + length;
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<std::uint8_t> written(const std::vector<Step>& steps) {
  std::vector<std::uint8_t> out;
  const std::vector<std::string> all = everybody();
  for (const Step& step : steps) {
    const std::size_t length = std::min(step.frame.size(), kMostFrameBytes);
    const auto program = std::find(std::begin(kPrograms), std::end(kPrograms), step.program) - std::begin(kPrograms);
    const std::size_t hook = static_cast<std::size_t>(program) + (step.from_outside ? std::size(kPrograms) : 0);
    for (const std::size_t byte : {hook, static_cast<std::size_t>(place_of(interfaces(step.program), step.interface)),
                                   static_cast<std::size_t>(place_of(all, step.who)), length >> 8, length & 0xff})
      out.push_back(static_cast<std::uint8_t>(byte));
    out.insert(out.end(), step.frame.begin(), step.frame.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return out;
}

Duel& duel() {
  static Duel made = [] {
    Duel begun;
    begun.begin(world());
    return begun;
  }();
  return made;
}

void must_agree(const std::optional<Disagreement>& found, const std::vector<Step>& steps) {
  if (!found) return;
  std::fprintf(stderr, "%s (model: %s, datapath: %s)\n%s\n", found->what.c_str(), reason_label(found->model),
               reason_label(found->kernel), row(duel(), Trial{world(), steps}, "fuzz").c_str());
  must(false, "the datapath and the model agree");
}

}  // namespace

// Half of the changes are libFuzzer's own, of the bytes of one frame; the others keep the shape: a frame as somebody
// would send it, one more, one less, another hook.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  Random random(seed);
  std::vector<Step> steps = read_steps(data, size);
  Generator generator(random, world());
  if (steps.empty()) steps.push_back(generator.any());
  Step& one = steps[random.below(steps.size())];
  switch (random.below(8)) {
    case 0:
      one = generator.any();
      break;
    case 1:
      steps.push_back(generator.any());
      break;
    case 2: {
      // The same talk, both ways.
      const Talk talk = generator.talk();
      steps.push_back(generator.opening(talk, random.percent(50)));
      for (std::size_t more = random.below(3); more > 0; more--)
        steps.push_back(random.percent(50) ? generator.packet(talk, random.percent(50))
                                           : generator.piece(talk, random.percent(50)));
      steps.push_back(generator.complaint(talk, random.percent(50)));
      break;
    }
    case 3:
      one.who = random.of(everybody());
      if (steps.size() > 1 && random.percent(50)) steps.pop_back();
      break;
    default: {
      const std::size_t length = std::min(one.frame.size(), kMostFrameBytes);
      one.frame.resize(kMostFrameBytes);
      one.frame.resize(LLVMFuzzerMutate(one.frame.data(), length, kMostFrameBytes));
    }
  }
  if (steps.size() > kMostFrames) steps.erase(steps.begin(), steps.end() - kMostFrames);
  std::vector<std::uint8_t> out = written(steps);
  out.resize(std::min(out.size(), most));
  std::memcpy(data, out.data(), out.size());
  return out.size();
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    const std::vector<Step> steps = read_steps(data, size);
    duel().forget_everything();
    for (const Step& step : steps) must_agree(duel().play(step), steps);
    must_agree(duel().settle(), steps);
  } catch (const std::exception& exception) {
    must(false, exception.what());
  }
  return 0;
}

}  // namespace grantd::model
