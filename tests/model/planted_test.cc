// What is printed of a disagreement has to be worth something: small, and complete. The model is given faults on
// purpose.
#include "tests/model/run.h"

#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace grantd::model {
namespace {

using Fault = std::function<void(const Arrival&, Opinion&)>;

class Planted : public testing::Test {
 protected:
  static Duel& duel() {
    static Duel instance;
    return instance;
  }
  ~Planted() override { duel().plant({}); }

  // On a node without a memory, where no model has a say.
  static std::optional<std::string> failure(const FoundCase& found) {
    static int number = 0;
    return first_failure(duel().node(), found, "-row" + std::to_string(++number));
  }

  static bool is_small(const World& world) {
    const auto one_at_most = [](const auto& all, auto list) {
      return std::all_of(all.begin(), all.end(), [&](const auto& each) { return (each.*list).size() <= 1; });
    };
    return world.guests.size() <= 1 && one_at_most(world.guests, &GuestSpec::addresses) && world.grants.size() <= 1 &&
           one_at_most(world.grants, &GrantSpec::destinations) &&
           world.realms.size() <= 3 &&  // a destination may be one
           one_at_most(world.realms, &RealmSpec::addresses);
  }

  // The first sequence, or world, on which the faulty model disagrees, made small; and the row that is made of it.
  static Trial expect_small_and_complete(const Fault& fault, bool sequences, std::size_t most_steps,
                                         const std::vector<std::string>& printed) {
    duel().plant(fault);
    for (std::uint64_t seed = 1; seed < 200; seed++) {
      const Trial trial = sequences ? sequence_trial(seed) : packets_trial(seed, 150);
      const auto found = play(duel(), trial);
      if (!found) continue;
      Trial cut = trial;
      cut.steps.resize(std::min(cut.steps.size(), found->step + 1));
      const Trial small = shrink(duel(), cut, found->disagreement);
      const FoundCase row = found_case(duel(), small, "planted");
      const std::string text = text_of(row);
      EXPECT_LE(small.steps.size(), most_steps) << text;
      EXPECT_TRUE(is_small(small.world)) << text;
      for (const Step& step : small.steps) EXPECT_TRUE(is_small(step.world)) << text;
      EXPECT_NE(row.note, "");
      for (const std::string& each : printed) EXPECT_NE(text.find(each), std::string::npos) << each << "\n" << text;
      // The row says what the faulty model does, and the datapath, which is right, is blamed at the last step.
      const auto blamed = failure(row);
      EXPECT_TRUE(blamed && blamed->starts_with("step " + std::to_string(row.steps.size() - 1) + ": "))
          << blamed.value_or("") << "\n"
          << text;
      return small;
    }
    ADD_FAILURE() << "no disagreement";
    return {};
  }
};

// Of what the sides agree on, all kinds of steps, a row says all that is needed to have it again.
TEST_F(Planted, RowsOfAgreementsPass) {
  std::array<std::size_t, 7> kinds{};
  std::size_t rows = 0, marks = 0, segments = 0;
  const auto all_met = [&] {
    for (const Step::Kind kind : {Step::Kind::Send, Step::Kind::Change, Step::Kind::Age, Step::Kind::Forget,
                                  Step::Kind::Near, Step::Kind::Wait})
      if (kinds.at(static_cast<std::size_t>(kind)) == 0) return false;
    return marks > 0 && segments > 0;
  };
  for (std::uint64_t seed = 1; seed <= 100 && (rows < 12 || !all_met()); seed++) {
    const FoundCase row = found_case(duel(), sequence_trial(seed), "agreed");
    // How full a bucket is depends on when, and the row is played at another time.
    if (duel().undecided() || text_of(row).find("RATE_LIMIT") != std::string::npos) continue;
    rows++;
    EXPECT_EQ(row.note, "") << "seed " << seed;
    for (const FoundStep& each : row.steps) {
      kinds.at(static_cast<std::size_t>(each.step.kind))++;
      marks += each.step.mark.has_value();
      segments += each.step.gso_bytes != 0;
    }
    EXPECT_EQ(failure(row), std::nullopt) << "seed " << seed << "\n" << text_of(row);
  }
  EXPECT_TRUE(all_met());
}

// What is printed is what the compiler reads: this case is written once, and has to come out as it is written.
#define GRANTD_WRITTEN(...) std::pair(FoundCase __VA_ARGS__, std::string(#__VA_ARGS__))

std::string bare(std::string text) {
  std::erase_if(text, [](char letter) { return letter == ' ' || letter == '\n'; });
  for (std::size_t at; (at = text.find(",}")) != std::string::npos;) text.erase(at, 1);
  if (text.ends_with(',')) text.pop_back();
  return text;
}

TEST(Row, IsPrintedAsItIsWritten) {
  const auto [found, written] =
      GRANTD_WRITTEN({"all kinds of steps",
                      "manifests",
                      {{Program::FromGuest, "veth-a", true, "", "0102", GRANTD_REASON_NEW_FLOW},
                       {Program::ToGuest, "veth-a", false, "realm:bob", "ff", GRANTD_REASON_NO_FLOW, {.mark = 77}},
                       {Program::FromUplink,
                        "uplink0",
                        true,
                        "grant:g0",
                        "",
                        GRANTD_REASON_ESTABLISHED,
                        {.gso_bytes = 3, .gso_segments = 2, .stamp = "realm:bob", .counted = {{4, 500}}}},
                       {Program::ToGuest, "veth-a", true, "", "", GRANTD_REASON_HOUSEKEEPING, {.neighbour = "veth-b"}},
                       {"others"},
                       aged(7000000000),
                       forgotten("0a"),
                       restarted(),
                       near_end("g0"),
                       near_begin("g1"),
                       waited()}});
  std::string text = text_of(found);
  // Manifests are printed as raw text, of which the preprocessor makes something else.
  for (const std::string each : {"manifests", "others"}) {
    const std::string raw = "R\"(" + each + ")\"";
    const std::size_t at = text.find(raw);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, raw.size(), "\"" + each + "\"");
  }
  EXPECT_EQ(bare(text), bare(written));
}

TEST_F(Planted, AReason) {
  expect_small_and_complete(
      [](const Arrival&, Opinion& opinion) {
        if (opinion.reason == GRANTD_REASON_DESTINATION) opinion.reason = GRANTD_REASON_NEW_FLOW;
      },
      false, 1, {"GRANTD_REASON_NEW_FLOW", "the datapath says destination"});
}

TEST_F(Planted, AMemory) {
  expect_small_and_complete(
      [](const Arrival&, Opinion& opinion) {
        if (opinion.reason == GRANTD_REASON_ESTABLISHED) opinion.reason = GRANTD_REASON_NO_FLOW;
      },
      true, 3, {"GRANTD_REASON_NO_FLOW", "the datapath says established"});
}

// Of the flows of a packet's Grant: whether there is one like that.
bool remembers(const Model& model, const Opinion& opinion, const std::function<bool(const Flow&)>& like) {
  const auto tables = model.tables().find(opinion.grant);
  return tables != model.tables().end() && std::any_of(tables->second.flows.begin(), tables->second.flows.end(),
                                                       [&](const auto& each) { return like(each.second); });
}

TEST_F(Planted, ALaterPolicy) {
  const Trial small = expect_small_and_complete(
      [](const Arrival&, Opinion& opinion) {
        const Model& model = duel().model();
        if (opinion.reason == GRANTD_REASON_NEW_FLOW && remembers(model, opinion, [&](const Flow& flow) {
              return flow.policy_id != model.published(opinion.grant).policy_id;
            }))
          opinion.reason = GRANTD_REASON_NO_FLOW;
      },
      true, 3, {"{R\"(", "GRANTD_REASON_NO_FLOW", "the datapath says new_flow"});
  ASSERT_EQ(small.steps.size(), 3U);
  EXPECT_EQ(small.steps[1].kind, Step::Kind::Change);
  EXPECT_EQ(small.steps[1].world.grants.size(), 1U);
}

// Where only the later world is needed, that is what the row begins with.
TEST_F(Planted, AWorldChangedTo) {
  duel().plant([](const Arrival&, Opinion& opinion) {
    if (opinion.reason == GRANTD_REASON_NEW_FLOW) opinion.reason = GRANTD_REASON_NO_FLOW;
  });
  Random random(1);
  Step change;
  change.kind = Step::Kind::Change;
  change.world = random_narrow_world(random);
  Generator generator(random, change.world);
  Trial trial{change.world, {change, generator.opening(generator.likely_talk(), true)}};
  for (GuestSpec& guest : trial.world.guests) guest.grant = "none";
  const auto found = play(duel(), trial);
  ASSERT_TRUE(found);
  const Trial small = shrink(duel(), trial, found->disagreement);
  EXPECT_EQ(small.steps.size(), 1U);
  EXPECT_TRUE(is_small(small.world)) << manifests(small.world);
}

TEST_F(Planted, ATime) {
  constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;
  const Trial small = expect_small_and_complete(
      [](const Arrival&, Opinion& opinion) {
        if (opinion.reason == GRANTD_REASON_NEW_FLOW &&
            remembers(duel().model(), opinion, [](const Flow& flow) { return boot_now() - flow.seen > 30 * kSecond; }))
          opinion.reason = GRANTD_REASON_NO_FLOW;
      },
      true, 3, {"aged(", "GRANTD_REASON_NO_FLOW", "the datapath says new_flow"});
  ASSERT_EQ(small.steps.size(), 3U);
  EXPECT_EQ(small.steps[1].kind, Step::Kind::Age);
  EXPECT_LE(small.steps[1].by_ns, 60 * kSecond);
}

TEST_F(Planted, AMark) {
  expect_small_and_complete(
      [](const Arrival& arrival, Opinion& opinion) {
        if (arrival.program == Program::FromUplink) opinion.stamp = "alice";
      },
      false, 1, {"Program::FromUplink", ".stamp = \"realm:alice\""});
  expect_small_and_complete(
      [](const Arrival& arrival, Opinion& opinion) {
        if (arrival.program == Program::FromGuest) opinion.stamp = "";
      },
      false, 1, {"Program::FromGuest", ".stamp = \"\""});
}

TEST_F(Planted, ANeighbour) {
  expect_small_and_complete(
      [](const Arrival& arrival, Opinion& opinion) {
        if (arrival.neighbour_ifindex && opinion.reason == GRANTD_REASON_HOUSEKEEPING)
          opinion.reason = GRANTD_REASON_LINK_CHATTER;
      },
      false, 1, {"Program::ToGuest", ".neighbour = \"veth-"});
}

TEST_F(Planted, ACounter) {
  expect_small_and_complete(
      [](const Arrival& arrival, Opinion& opinion) {
        if (arrival.gso_bytes) opinion.bytes++;
      },
      false, 1, {".gso_bytes = ", ".counted = {{"});
}

}  // namespace
}  // namespace grantd::model
