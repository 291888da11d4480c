// What must hold between two worlds, whatever the model thinks of either. GRANTD_MODEL_SEED and GRANTD_MODEL_WORLDS ask
// for other worlds than these and for more of them, GRANTD_MODEL_WORLD for one alone.
#include "tests/model/run.h"
#include "tests/model/twin.h"

#include "agent/snapshot/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>

namespace grantd::model {
namespace {

constexpr std::uint64_t kWorlds = 6;
constexpr std::size_t kPackets = 300;

std::optional<std::uint64_t> asked(const char* variable) {
  const char* const text = std::getenv(variable);
  if (!text) return {};
  std::uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  if (const auto read = std::from_chars(text, end, number); read.ptr != end || read.ec != std::errc{})
    throw std::runtime_error(std::string(variable) + " is '" + text + "'; accepted: a number");
  return number;
}

class Metamorphic : public testing::Test {
 protected:
  static Duel& duel() {
    static Duel instance;  // where the process ends, so do its namespaces
    return instance;
  }
  // In worlds that are made up one by one. Returns whether they were so many that all that matters must have been met.
  static bool in_each_world(std::uint64_t seed, const std::function<void(Random&)>& relation) {
    seed = asked("GRANTD_MODEL_SEED").value_or(seed);
    const auto alone = asked("GRANTD_MODEL_WORLD");
    const std::uint64_t first = alone.value_or(0), count = alone ? 1 : asked("GRANTD_MODEL_WORLDS").value_or(kWorlds);
    for (std::uint64_t number = first; number < first + count; number++) {
      SCOPED_TRACE("GRANTD_MODEL_SEED=" + std::to_string(seed) + " GRANTD_MODEL_WORLD=" + std::to_string(number));
      Random random(Random(seed).next() + number);
      try {
        relation(random);
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();  // where the trace still stands
      }
    }
    return count >= kWorlds;
  }
  // What the datapath itself says of a packet; whether the model agrees is the differential test's to ask.
  struct Said {
    std::size_t step = 0;
    bool passes = false;
    Reason reason = GRANTD_REASON_FELL_THROUGH;  // from_uplink gives none
    Who stamp;                                   // on what passes
  };
  static std::vector<Said> said(const World& world, const std::vector<Step>& steps) {
    duel().begin(world);
    std::vector<Said> all;
    for (std::size_t at = 0; at < steps.size(); at++) {
      (void)duel().play(steps[at]);
      if (steps[at].kind != Step::Kind::Send || !duel().judged()) continue;
      const Judged& judged = *duel().judged();
      all.push_back({at, judged.passes, judged.reason, judged.passes ? duel().node().named(judged.mark) : ""});
    }
    return all;
  }
  static void expect_same(const std::vector<Said>& one, const std::vector<Said>& other) {
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t at = 0; at < one.size(); at++) {
      EXPECT_EQ(std::string(reason_label(one[at].reason)), reason_label(other[at].reason)) << "packet " << at;
      EXPECT_EQ(one[at].passes, other[at].passes) << "packet " << at;
      EXPECT_EQ(one[at].stamp, other[at].stamp) << "packet " << at;
    }
  }
  static std::size_t passing(const std::vector<Said>& all) {
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const Said& one) { return one.passes; }));
  }
  static Step change(const World& world) {
    Step step;
    step.kind = Step::Kind::Change;
    step.world = world;
    return step;
  }
  // First packets, each of a flow of its own: of guests alone, or of those who reach in too.
  static std::vector<Step> openings(Random& random, const World& world, bool both_ways = false) {
    Generator generator(random, world);
    std::vector<Step> steps;
    while (steps.size() < kPackets) {
      Talk talk = generator.talk();
      talk.local_port = static_cast<std::uint16_t>(20000 + steps.size());
      steps.push_back(generator.opening(talk, !both_ways || random.percent(50)));
    }
    return steps;
  }
  // A world without buckets, whose verdicts do not depend on time.
  static World world_of(Random& random) {
    World world = random_world(random);
    for (GrantSpec& grant : world.grants) grant.bandwidth.clear();
    return world;
  }
  template <typename T>
  static void shuffle(Random& random, std::vector<T>& all) {
    for (std::size_t at = all.size(); at > 1; at--) std::swap(all[at - 1], all[random.below(at)]);
  }
};

TEST_F(Metamorphic, AddingADestinationRemovesNone) {
  std::size_t added = 0;
  const bool enough = in_each_world(1, [&](Random& random) {
    const World before = world_of(random);
    World after = before;
    for (GrantSpec& grant : after.grants) {
      const std::string more = random_destination(random, after);
      if (std::find(grant.destinations.begin(), grant.destinations.end(), more) == grant.destinations.end())
        grant.destinations.push_back(more);
    }
    const auto steps = openings(random, after);
    const auto was = said(before, steps), is = said(after, steps);
    ASSERT_EQ(was.size(), is.size());
    for (std::size_t at = 0; at < was.size(); at++)
      if (was[at].passes) {
        EXPECT_TRUE(is[at].passes) << "packet " << at << ": " << reason_label(is[at].reason);
      } else {
        added += is[at].passes;
      }
  });
  if (!enough) return;
  EXPECT_GT(added, 0U) << "no destination that was added opened anything";
}

TEST_F(Metamorphic, TheOrderOfManifestsNeverMatters) {
  in_each_world(2, [](Random& random) {
    const World world = world_of(random);
    World other = world;
    shuffle(random, other.realms);
    shuffle(random, other.grants);
    shuffle(random, other.guests);
    for (GrantSpec& grant : other.grants) shuffle(random, grant.destinations);
    Trial trial = packets_trial(random.next(), 0);
    Generator generator(random, world);
    for (std::size_t count = 0; count < kPackets; count++) trial.steps.push_back(generator.any());
    expect_same(said(world, trial.steps), said(other, trial.steps));
  });
}

// A destination, and the same in other words.
struct Spelling {
  const char* kind;
  std::vector<std::string> one, other;
};

const std::vector<Spelling> kSpellings = {
    {"a port without a protocol is TCP and UDP",
     {"198.51.100.0/24:443"},
     {"198.51.100.0/24:443/TCP", "198.51.100.0/24:443/UDP"}},
    {"a range of ports in two",
     {"203.0.113.0/24:5000-5010/UDP"},
     {"203.0.113.0/24:5000-5004/UDP", "203.0.113.0/24:5005-5010/UDP"}},
    {"a realm without the word", {"realm:carol"}, {"carol"}},
    {"a host without its length", {"8.8.8.8/32:443/TCP"}, {"8.8.8.8:443/TCP"}},
    {"a host without its length, IPv6", {"[2600::7/128]:443/TCP"}, {"[2600::7]:443/TCP"}},
    {"a prefix in its halves", {"198.51.100.0/24:443/TCP"}, {"198.51.100.0/25:443/TCP", "198.51.100.128/25:443/TCP"}},
    {"a prefix in its halves, IPv6", {"[2600::/64]:443/TCP"}, {"[2600::/65]:443/TCP", "[2600::8000:0:0:0/65]:443/TCP"}},
    {"what another one says already", {"8.8.8.0/24"}, {"8.8.8.0/24", "8.8.8.8/32:ICMP"}},
    {"twice", {"8.8.8.8/32:ICMP"}, {"8.8.8.8:ICMP", "8.8.8.8/32:ICMP"}},
};

TEST_F(Metamorphic, EquivalentSpellingsGiveOneVerdict) {
  std::map<std::string, std::size_t> opened;
  const bool enough = in_each_world(3, [&](Random& random) {
    for (const Spelling& spelling : kSpellings) {
      SCOPED_TRACE(spelling.kind);
      ASSERT_NE(spelling.one, spelling.other);
      World closed = world_of(random);
      for (GrantSpec& grant : closed.grants) {
        grant.destinations.clear();
        grant.egress_allowed = true;
        grant.grantee = "bob";  // carol is somebody else
        grant.time = Time::Now;
      }
      World one = closed, other = closed;
      for (GrantSpec& grant : one.grants) grant.destinations = spelling.one;
      for (GrantSpec& grant : other.grants) grant.destinations = spelling.other;
      const auto steps = openings(random, one);
      const auto without = said(closed, steps), first = said(one, steps);
      expect_same(first, said(other, steps));
      opened[spelling.kind] += passing(first) - passing(without);
    }
  });
  if (!enough) return;
  for (const auto& [kind, count] : opened) EXPECT_GT(count, 0U) << "no packet met what is spelled: " << kind;
}

TEST_F(Metamorphic, NarrowedAndWidenedAgainIsAsBefore) {
  std::map<Program, std::size_t> refused, refused_of_live_flows;
  const bool enough = in_each_world(4, [&](Random& random) {
    const World world = world_of(random);
    World narrow = world;
    for (GrantSpec& grant : narrow.grants) {
      grant.egress_allowed = false;
      grant.from = {"Grantee"};
    }
    // Once with flows that live when the narrow world comes.
    const auto steps = openings(random, world, true);
    for (const bool live : {false, true}) {
      std::vector<Step> all;
      const auto add = [&](const std::vector<Step>& more) { all.insert(all.end(), more.begin(), more.end()); };
      if (live) add(steps);
      all.push_back(change(narrow));
      add(steps);
      const std::size_t narrow_end = all.size();
      all.push_back(change(world));
      add(steps);
      const auto before = said(world, steps), played = said(world, all);
      std::vector<Said> first, narrowed, after;
      for (const Said& one : played)
        (one.step >= narrow_end ? after : live && one.step < steps.size() ? first : narrowed).push_back(one);
      if (live) expect_same(before, first);
      ASSERT_EQ(narrowed.size(), before.size());
      ASSERT_EQ(after.size(), before.size());
      for (std::size_t at = 0; at < before.size(); at++) {
        EXPECT_TRUE(before[at].passes || !narrowed[at].passes) << "packet " << at << " passes where less is allowed";
        if (before[at].passes && !narrowed[at].passes)
          (live ? refused_of_live_flows : refused)[steps[before[at].step].program]++;
        EXPECT_EQ(before[at].passes, after[at].passes) << "packet " << at;
        // What passed in the narrow world, too, began its flow there.
        if (!before[at].passes) {
          EXPECT_EQ(std::string(reason_label(before[at].reason)), reason_label(after[at].reason)) << "packet " << at;
        }
      }
    }
  });
  if (!enough) return;
  for (const Program program : {Program::FromGuest, Program::ToGuest}) {
    SCOPED_TRACE(program == Program::FromGuest ? "from guests" : "to guests");
    EXPECT_GT(refused[program], 0U) << "the narrow world allows as much";
    EXPECT_GT(refused_of_live_flows[program], 0U) << "no live flow met the narrow world";
  }
}

// Worlds that say the same of one family each.
std::pair<World, World> twins(Random& random, World four) {
  static const std::vector<std::string> realms = {"61.1.0.0/16", "61.1.2.0/24", "61.2.0.0/16", "61.3.3.0/24"};
  static const std::vector<std::string> places = {"62.1.0.0/16", "62.1.1.0/24", "62.1.1.7/32", "61.1.0.0/16",
                                                  "62.2.0.0/15"};
  static const std::vector<std::string> ports = {":443/TCP", ":5000-5010/UDP", "", ":ICMP", ":443"};
  World six = four;
  for (std::size_t at = 0; at < four.realms.size(); at++) {
    four.realms[at].addresses = {realms[at]};
    six.realms[at].addresses = {twin_of_prefix(realms[at])};
    four.realms[at].uplinks = six.realms[at].uplinks = {"lan"};
  }
  for (std::size_t at = 0; at < four.grants.size(); at++) {
    four.grants[at].destinations.clear();
    six.grants[at].destinations.clear();
    for (const std::string& place : places) {
      if (random.percent(50)) continue;
      const std::string& port = random.of(ports);
      four.grants[at].destinations.push_back(place + port);
      six.grants[at].destinations.push_back(port.empty() ? twin_of_prefix(place)
                                                         : "[" + twin_of_prefix(place) + "]" + port);
    }
  }
  for (std::size_t at = 0; at < four.guests.size(); at++) {
    const std::string own = "63.0.0." + std::to_string(at + 1);
    four.guests[at].addresses = {own};
    six.guests[at].addresses = {twin_of_address(own)};
  }
  return {four, six};
}

// Packets of IPv4 that have a twin: in rows about one talk each, so that they meet flows and fragments.
std::vector<Step> packets_with_twins(Random& random, const World& four, std::size_t count) {
  Generator generator(random, four);
  std::vector<Step> steps;
  Talk talk;
  while (steps.size() < count) {
    if (steps.empty() || random.percent(10)) {
      talk = generator.talk();
      const std::string tail = std::to_string(random.below(4)) + "." + std::to_string(random.below(9));
      talk.peer = random.of<std::string>({"61.1.", "61.2.", "61.3.", "62.1.", "62.2.", "62.3."}) + tail;
      if (random.percent(20)) talk.peer = random.of<std::string>({"63.0.0.1", "63.0.0.2", "63.0.0.3", "62.1.1.7"});
    }
    const bool egress = random.percent(60);
    const std::size_t chance = random.below(100);
    Step step = chance < 40   ? generator.opening(talk, egress)
                : chance < 60 ? generator.piece(talk, egress)
                : chance < 80 ? generator.complaint(talk, egress)
                              : generator.packet(talk, egress);
    if (!egress && random.percent(10)) {
      step.program = Program::FromUplink;
      step.interface = "uplink0";
    }
    if (twin_of_frame(step.frame)) steps.push_back(step);
  }
  return steps;
}

TEST_F(Metamorphic, AFamilysTwinAgrees) {
  std::size_t passed = 0, dropped = 0;
  std::array<std::size_t, GRANTD_REASON_LIMIT> met{};
  const bool enough = in_each_world(5, [&](Random& random) {
    const auto [four, six] = twins(random, world_of(random));
    const auto steps4 = packets_with_twins(random, four, 3 * kPackets);
    auto steps6 = steps4;
    for (Step& step : steps6) step.frame = *twin_of_frame(step.frame);
    const auto one = said(four, steps4);
    expect_same(one, said(six, steps6));
    passed += passing(one);
    dropped += one.size() - passing(one);
    for (const Said& each : one) met[each.reason]++;
  });
  if (!enough) return;
  EXPECT_GT(passed, 100U);
  EXPECT_GT(dropped, 100U);
  for (const Reason reason : {GRANTD_REASON_ESTABLISHED, GRANTD_REASON_FRAGMENT, GRANTD_REASON_FRAGMENT_ORPHAN,
                              GRANTD_REASON_ICMP_ERROR, GRANTD_REASON_ICMP_ERROR_UNRELATED}) {
    EXPECT_GT(met[reason], 0U) << reason_label(reason);
  }
}

}  // namespace
}  // namespace grantd::model
