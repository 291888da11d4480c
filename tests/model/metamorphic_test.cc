// What must hold between two worlds, whatever the model thinks of either.
#include "tests/model/run.h"

#include "agent/snapshot/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace grantd::model {
namespace {

constexpr int kWorlds = 6;
constexpr std::size_t kPackets = 300;

class Metamorphic : public testing::Test {
 protected:
  static Duel& duel() {
    static Duel instance;  // where the process ends, so do its namespaces
    return instance;
  }
  // The datapath's reasons for these steps; the model agreed with each.
  static std::vector<Reason> reasons(const World& world, const std::vector<Step>& steps) {
    duel().begin(world);
    std::vector<Reason> all;
    for (const Step& step : steps) {
      const auto found = duel().play(step);
      EXPECT_FALSE(found) << found->what;
      if (step.kind == Step::Kind::Send) all.push_back(duel().last_reason());
    }
    return all;
  }
  static void expect_same(const std::vector<Reason>& one, const std::vector<Reason>& other) {
    ASSERT_EQ(one.size(), other.size());
    for (std::size_t at = 0; at < one.size(); at++)
      EXPECT_EQ(std::string(reason_label(one[at])), reason_label(other[at])) << "packet " << at;
  }
  static std::size_t passing(const std::vector<Reason>& all) {
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), reason_passes));
  }
  // First packets of guests, each of a flow of its own.
  static std::vector<Step> openings(Random& random, const World& world) {
    Generator generator(random, world);
    std::vector<Step> steps;
    while (steps.size() < kPackets) {
      Talk talk = generator.talk();
      talk.local_port = static_cast<std::uint16_t>(20000 + steps.size());
      steps.push_back(generator.opening(talk, true));
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
  Random random(1);
  std::size_t added = 0;
  for (int round = 0; round < kWorlds; round++) {
    const World before = world_of(random);
    World after = before;
    for (GrantSpec& grant : after.grants) {
      const std::string more = random_destination(random, after);
      if (std::find(grant.destinations.begin(), grant.destinations.end(), more) == grant.destinations.end())
        grant.destinations.push_back(more);
    }
    const auto steps = openings(random, after);
    const auto was = reasons(before, steps), is = reasons(after, steps);
    for (std::size_t at = 0; at < steps.size(); at++)
      if (reason_passes(was[at])) {
        EXPECT_TRUE(reason_passes(is[at])) << "packet " << at << ": " << reason_label(is[at]);
      } else {
        added += reason_passes(is[at]);
      }
  }
  EXPECT_GT(added, 0U) << "no destination that was added opened anything";
}

TEST_F(Metamorphic, TheOrderOfManifestsNeverMatters) {
  Random random(2);
  for (int round = 0; round < kWorlds; round++) {
    const World world = world_of(random);
    World other = world;
    shuffle(random, other.realms);
    shuffle(random, other.grants);
    shuffle(random, other.guests);
    for (GrantSpec& grant : other.grants) shuffle(random, grant.destinations);
    Trial trial = packets_trial(random.next(), 0);
    Generator generator(random, world);
    for (std::size_t count = 0; count < kPackets; count++) trial.steps.push_back(generator.any());
    expect_same(reasons(world, trial.steps), reasons(other, trial.steps));
  }
}

// The same in other words.
std::vector<std::string> spelled_otherwise(const std::string& text) {
  if (text.find(":443-444") == std::string::npos && text.ends_with(":443")) return {text + "/TCP", text + "/UDP"};
  if (text.ends_with("/32")) return {text.substr(0, text.size() - 3)};
  if (text.starts_with("realm:") && text.find(':', 6) == std::string::npos) return {text.substr(6)};
  if (text.ends_with(":5000-5010/UDP")) {
    const std::string host = text.substr(0, text.size() - 14);
    return {host + ":5000-5004/UDP", host + ":5005-5010/UDP"};
  }
  const std::size_t slash = text.find("/24");
  if (slash != std::string::npos && text.find('[') == std::string::npos) {
    const std::string host = text.substr(0, slash), rest = text.substr(slash + 3);
    return {host + "/25" + rest, host.substr(0, host.rfind('.')) + ".128/25" + rest};
  }
  return {text};
}

TEST_F(Metamorphic, EquivalentSpellingsGiveOneVerdict) {
  Random random(3);
  std::size_t respelled = 0, passed = 0;
  for (int round = 0; round < kWorlds; round++) {
    World world = world_of(random);
    for (GrantSpec& grant : world.grants) {
      grant.destinations = {"198.51.100.0/24:443", "203.0.113.0/24:5000-5010/UDP", "realm:carol", "8.8.8.8/32:ICMP"};
      grant.egress_allowed = true;
    }
    World other = world;
    for (GrantSpec& grant : other.grants) {
      grant.destinations.clear();
      for (const GrantSpec& as_written : world.grants)
        if (as_written.name == grant.name)
          for (const std::string& text : as_written.destinations)
            for (const std::string& each : spelled_otherwise(text)) {
              respelled += each != text;
              grant.destinations.push_back(each);
            }
    }
    const auto steps = openings(random, world);
    const auto one = reasons(world, steps);
    expect_same(one, reasons(other, steps));
    passed += passing(one);
  }
  EXPECT_GT(respelled, 0U);
  EXPECT_GT(passed, 0U);
}

TEST_F(Metamorphic, NarrowedAndWidenedAgainIsAsBefore) {
  Random random(4);
  for (int round = 0; round < kWorlds; round++) {
    const World world = world_of(random);
    auto steps = openings(random, world);
    const auto before = reasons(world, steps);
    World narrow = world;
    for (GrantSpec& grant : narrow.grants) {
      grant.egress_allowed = false;
      grant.from = {"Grantee"};
    }
    Step to_narrow, back;
    to_narrow.kind = back.kind = Step::Kind::Change;
    to_narrow.world = narrow;
    back.world = world;
    steps.insert(steps.begin(), {to_narrow, back});
    expect_same(before, reasons(world, steps));
  }
}

// The twin of an IPv4 address: the same 32 bits behind a prefix that stands for nothing else.
std::string twin(const std::string& address) {
  const auto bytes = IpAddress::parse(address).value().bytes;
  char text[40];
  std::snprintf(text, sizeof(text), "2600:4::%02x%02x:%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3]);
  return IpAddress::parse(text).value().text();
}

std::string twin_of_prefix(const std::string& prefix) {
  const std::size_t slash = prefix.find('/');
  return twin(prefix.substr(0, slash)) + "/" + std::to_string(96 + std::stoi(prefix.substr(slash + 1)));
}

TEST_F(Metamorphic, AFamilysTwinAgrees) {
  Random random(5);
  std::size_t passed = 0, dropped = 0;
  for (int round = 0; round < kWorlds; round++) {
    World four = world_of(random);
    // Prefixes that neither family treats in a special way.
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
      six.guests[at].addresses = {twin(own)};
    }
    Generator for_four(random, four), for_six(random, six);
    std::vector<Step> steps4, steps6;
    while (steps4.size() < kPackets) {
      Talk talk = for_four.talk();
      if (talk.local != "63.0.0.1" && talk.local != "63.0.0.2" && talk.local != "63.0.0.3") continue;
      const std::string tail = std::to_string(random.below(4)) + "." + std::to_string(random.below(9));
      talk.peer = random.of<std::string>({"61.1.", "61.2.", "61.3.", "62.1.", "62.2.", "62.3."}) + tail;
      if (random.percent(20)) talk.peer = random.of<std::string>({"63.0.0.1", "63.0.0.2", "63.0.0.3", "62.1.1.7"});
      const bool egress = random.percent(60);
      steps4.push_back(for_four.opening(talk, egress));
      talk.local = twin(talk.local);
      talk.peer = twin(talk.peer);
      steps6.push_back(for_six.opening(talk, egress));
    }
    const auto one = reasons(four, steps4);
    expect_same(one, reasons(six, steps6));
    passed += passing(one);
    dropped += one.size() - passing(one);
  }
  EXPECT_GT(passed, 100U);
  EXPECT_GT(dropped, 100U);
}

}  // namespace
}  // namespace grantd::model
