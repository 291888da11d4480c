// What grantctl prints for a snapshot of the maps.
#include "agent/ctl/view/table.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"
#include "tests/unit/snapshot_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>

namespace grantd {
namespace {

using testing::HasSubstr;
using testing::Not;

const Style kTable{};
const Style kJson{Output::Json, false};

TEST(Units, AreThoseThatPeopleRead) {
  EXPECT_EQ(rate_text(50'000'000), "50 Mbit/s");
  EXPECT_EQ(rate_text(1'500'000), "1.5 Mbit/s");
  EXPECT_EQ(rate_text(8000), "8 kbit/s");
  EXPECT_EQ(rate_text(400'000'000'000), "400 Gbit/s");
  EXPECT_EQ(rate_text(999), "999 bit/s");
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1 << 20), "1 MiB");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(~0ULL), "16384 PiB");
  EXPECT_EQ(duration_text(350'000'000), "350 ms");
  EXPECT_EQ(duration_text(119 * samples::kSecond), "119 s");
  EXPECT_EQ(duration_text(7199 * samples::kSecond), "119 min");
  EXPECT_EQ(duration_text(50 * 3600 * samples::kSecond), "2 d");
  EXPECT_EQ(ago_text(0, 5), "never");
  EXPECT_EQ(ago_text(9, 5), "0 ms ago") << "another CPU's clock may be a little ahead";
  EXPECT_EQ(time_text(samples::kWallNow), "2026-01-01T00:00:00Z");
}

TEST(Table, IsAlignedAndHasNoBlanksAtItsEnds) {
  const Table table{{{"NAME"}, {"COUNT", true}, {"LAST"}}, {{"a", "5", "x"}, {"longer", "12345", "y"}}, ""};
  EXPECT_EQ(render(table, false),
            "NAME    COUNT  LAST\n"
            "a           5  x\n"
            "longer  12345  y\n");
}

TEST(Table, ColoursDoNotDisturbTheAlignment) {
  const Table table{{{"A"}, {"B"}}, {{{"x", Colour::Bad}, "y"}}, ""};
  EXPECT_EQ(render(table, false), "A  B\nx  y\n");
  EXPECT_THAT(render(table, true), HasSubstr("\033[31mx\033[0m  y\n"));
}

TEST(Table, WhatOthersWroteReachesNoTerminalAsItIs) {
  const Table table{{{"A"}}, {{"\033[2Jred\nline"}}, ""};
  EXPECT_THAT(render(table, true), Not(HasSubstr("\033[2J")));
  EXPECT_EQ(render(table, false), "A\n\\x1b[2Jred\\nline\n");
}

TEST(Table, AnEmptyOneSaysSo) { EXPECT_EQ(render({{{"A"}}, {}, "Nothing here."}, false), "Nothing here.\n"); }

TEST(Drops, AreListedByGrantDirectionAndReason) {
  EXPECT_EQ(show_drops(samples::node(), {}, {}, kTable),
            "GRANT                         DIRECTION  REASON       PACKETS  BYTES  LAST SEEN  AT\n"
            "(quarantine)                  egress     quarantine         3  180 B  2 s ago    2025-12-31T23:59:58Z\n"
            "keystone-system/alice-to-bob  egress     destination       12  2 KiB  12 s ago   2025-12-31T23:59:48Z\n"
            "keystone-system/alice-to-bob  ingress    nobody             1   60 B  1 s ago    2025-12-31T23:59:59Z\n");
}

TEST(Drops, CanBeFilteredByNameWithOrWithoutItsNamespace) {
  Filter filter;
  filter.grant = "alice-to-bob";
  EXPECT_THAT(show_drops(samples::node(), {}, filter, kTable), Not(HasSubstr("(quarantine)")));
  filter.grant = "keystone-system/alice-to-bob";
  filter.reason = "nobody";
  const std::string text = show_drops(samples::node(), {}, filter, kTable);
  EXPECT_THAT(text, HasSubstr("nobody"));
  EXPECT_THAT(text, Not(HasSubstr("destination")));
  filter.grant = "to-bob";
  EXPECT_EQ(show_drops(samples::node(), {}, filter, kTable), "No packet was refused.\n");
}

TEST(Filter, NamesWhatTheNodeKnows) {
  const Snapshot node = samples::node();
  for (const char* grant : {"", "alice-to-bob", "keystone-system/alice-to-bob", "(quarantine)"})
    EXPECT_TRUE((Filter{grant, "bob-web", ""}.names_known(node).ok())) << grant;
  const auto grant = Filter{"nope", "", ""}.names_known(node);
  ASSERT_FALSE(grant.ok());
  EXPECT_THAT(grant.error().message, HasSubstr("Grant nope is not known to this node; known: (quarantine), "
                                               "keystone-system/alice-to-bob, keystone-system/alice-to-carol"));
  const auto guest = Filter{"", "nobody", ""}.names_known(node);
  ASSERT_FALSE(guest.ok());
  EXPECT_THAT(guest.error().message, HasSubstr("guest nobody is not known to this node; known: bob-web"));
}

TEST(Drops, OfASlotWithoutANameAreShownToo) {
  Snapshot node = samples::node();
  node.slot_names.erase(1);
  EXPECT_THAT(show_drops(node, {}, {}, kTable), HasSubstr("(slot 1)"));
}

TEST(Drops, AreJsonForPrograms) {
  const std::string text = show_drops(samples::node(), {}, {}, kJson);
  EXPECT_THAT(text, HasSubstr("\"reason\": \"destination\""));
  EXPECT_THAT(text, HasSubstr("\"packets\": 12"));
  EXPECT_THAT(text, HasSubstr("\"last_seen\": \"2025-12-31T23:59:48Z\""));
}

TEST(Drops, AtTheGateAreAmongThem) {
  const std::vector<GateDrop> gate = {{"keystone-system/alice-to-bob", "unjudged", 7},
                                      {"keystone-system/alice-to-bob", "forged", 12}};
  EXPECT_EQ(show_drops(samples::node(), gate, {"alice-to-bob", "", ""}, kTable),
            "GRANT                         DIRECTION  REASON       PACKETS  BYTES  LAST SEEN  AT\n"
            "keystone-system/alice-to-bob  egress     destination       12  2 KiB  12 s ago   2025-12-31T23:59:48Z\n"
            "keystone-system/alice-to-bob  egress     forged            12      -  -          -\n"
            "keystone-system/alice-to-bob  egress     unjudged           7      -  -          -\n"
            "keystone-system/alice-to-bob  ingress    nobody             1   60 B  1 s ago    2025-12-31T23:59:59Z\n");
  const auto json = nlohmann::json::parse(show_drops(samples::node(), gate, {"", "", "unjudged"}, kJson)).at("drops");
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0].at("packets"), 7);
  for (const char* field : {"slot", "bytes", "last_seen"}) EXPECT_TRUE(json[0].at(field).is_null()) << field;
  EXPECT_THAT(std::string(json[0].at("sentence")), HasSubstr("the gate"));
}

TEST(Grants, TellTheStateThatTheKernelEnforces) {
  const std::string text = show_grants(samples::node(), {}, {}, kTable);
  EXPECT_THAT(text, HasSubstr("keystone-system/alice-to-bob    active   alice-home  bob-home       1  100 Mbit/s"));
  EXPECT_THAT(text, HasSubstr("keystone-system/alice-to-carol  expired"));
  EXPECT_THAT(text, HasSubstr("60 s ago"));
  EXPECT_THAT(text, HasSubstr("/etc/grantd/grants.yaml:7"));
}

TEST(Grants, AreJsonForPrograms) {
  const std::string text = show_grants(samples::node(), {}, {}, kJson);
  EXPECT_THAT(text, HasSubstr("\"bits_per_second\": 100000000"));
  EXPECT_THAT(text, HasSubstr("\"ends_at\": \"2025-12-31T23:59:00Z\""));
  EXPECT_THAT(text, HasSubstr("\"ingress_limit\": null"));
}

TEST(Grants, ThatHaveNotBegunSayWhenTheyDo) {
  Snapshot node = samples::node();
  EXPECT_THAT(show_grants(node, {}, {}, kJson), Not(HasSubstr("\"starts_at\": \"")));
  node.policies.at(11).not_before_ns = samples::kBootNow + 7200 * samples::kSecond;
  node.counters.at(1)[GRANTD_COUNTER_INDEX(GRANTD_EGRESS, GRANTD_REASON_NOT_YET_VALID)] = {1, 60, samples::kBootNow, 0};
  const std::string starts = "starts 2026-01-01T02:00:00Z, in 2 h";
  EXPECT_THAT(show_grants(node, {}, {}, kTable), HasSubstr("not_yet_valid (" + starts + ")"));
  EXPECT_THAT(show_grants(node, {}, {}, kJson), HasSubstr("\"starts_at\": \"2026-01-01T02:00:00Z\""));
  EXPECT_THAT(show_drops(node, {}, {}, kTable), HasSubstr("not_yet_valid (" + starts + ")"));
  EXPECT_THAT(show_drops(node, {}, {}, kTable), Not(HasSubstr("destination (")));  // no other reason has a start
  EXPECT_THAT(show_endpoints(node, {}, {}, kTable), HasSubstr("It " + starts + "."));
}

TEST(Refusals, SayOfAGuestWhatAnyOfItsInterfacesIsUnder) {
  const Refusals refusals{"/p", {{Refusal::Kind::Guest, "bob-web", "f.yaml:3: wrong"}}, 0};
  Snapshot node = samples::node();
  const grantd_endpoint under = node.endpoints.begin()->second;
  ASSERT_EQ(under.slot, 1U);
  grantd_endpoint& left = node.endpoints[9999] = under;
  left.endpoint_id = 0;
  left.slot = 0;
  node.guests[0] = node.guests.at(under.endpoint_id);
  const std::string stays = "bob-web (what was in force stays): f.yaml:3";
  EXPECT_THAT(show_endpoints(node, refusals, {}, kTable), HasSubstr(stays));
  node.published.erase(1);
  EXPECT_THAT(show_endpoints(node, refusals, {}, kTable), Not(HasSubstr("what was in force stays")));
}

TEST(Refusals, HaveARowWhereNothingIsInForceAndALineAlways) {
  const Refusals refusals{"/p",
                          {{Refusal::Kind::Grant, "keystone-system/new", "f.yaml:3: wrong"},
                           {Refusal::Kind::Grant, "keystone-system/alice-to-bob", "f.yaml:9: wrong"},
                           {Refusal::Kind::Grant, "keystone-system/alice-to-carol", "f.yaml:10: over"},
                           {Refusal::Kind::Guest, "other", "f.yaml:12: \033[2J"}},
                          2};
  const std::string grants = show_grants(samples::node(), refusals, {}, kTable);
  EXPECT_THAT(grants, testing::ContainsRegex("\nkeystone-system/new +refused"));
  EXPECT_THAT(grants, HasSubstr("\n\nRefused:\n  keystone-system/new: f.yaml:3: wrong\n"
                                "  keystone-system/alice-to-bob (what was in force stays): f.yaml:9: wrong\n"
                                "  keystone-system/alice-to-carol: f.yaml:10: over\n"
                                "  2 more are in the log\n"));
  EXPECT_THAT(grants, Not(HasSubstr("other")));
  const std::string endpoints = show_endpoints(samples::node(), refusals, {}, kTable);
  EXPECT_THAT(endpoints, HasSubstr("  other: f.yaml:12: \\x1b[2J\n"));
  EXPECT_THAT(endpoints, Not(HasSubstr("keystone-system/new")));
  EXPECT_THAT(show_grants(samples::node(), {}, {}, kTable), Not(HasSubstr("efused")));
  EXPECT_THAT(show_grants(samples::node(), refusals, {}, kJson), HasSubstr("\"refused_more\": 2\n"));
  EXPECT_THAT(show_endpoints(samples::node(), refusals, {}, kJson), HasSubstr("\"refused_more\": 2\n"));
  EXPECT_THAT(show_grants(samples::node(), {}, {}, kJson), HasSubstr("\"refused_more\": 0\n"));
  EXPECT_THAT(show_status(samples::node(), {"/p", true, {}, refusals}, kTable), HasSubstr("6; grantctl grants"));
  EXPECT_TRUE((Filter{"new", "other", ""}.names_known(samples::node(), refusals)).ok());
  EXPECT_FALSE((Filter{"new", "", ""}.names_known(samples::node())).ok());
}

TEST(Events, ShowAddressesWhereTheyWereRead) {
  const Snapshot node = samples::node();
  auto event = samples::zeros<grantd_event>();
  event.time_ns = samples::kBootNow;
  event.slot = event.endpoint_id = 1;
  event.reason = GRANTD_REASON_NEIGHBOUR_SPOOFING;
  for (const auto& [ethertype, text] : {std::pair<std::uint16_t, const char*>{0x0806, "ARP"},
                                        {0x88cc, "ethertype 0x88cc"},
                                        {0x8100, "VLAN"},
                                        {0, "(not read)"}}) {
    event.ethertype = ethertype;
    EXPECT_EQ(show_event(node, event, kTable),
              std::string("2026-01-01T00:00:00Z  keystone-system/alice-to-bob  bob-web  egress  neighbour_spoofing  ") +
                  text + "\n");
    EXPECT_THAT(show_event(node, event, kJson), HasSubstr("\"source\":null,\"destination\":null"));
  }
  // Duplicate address detection comes from ::, and says so.
  event.ethertype = 0x86dd;
  event.destination.bytes[0] = 0xff;
  EXPECT_THAT(show_event(node, event, kTable), HasSubstr("  :: -> ff00::\n"));
}

TEST(Events, OfAGrantThatHasNotBegunSayWhenItDoes) {
  Snapshot node = samples::node();
  node.policies.at(11).not_before_ns = samples::kBootNow + 7200 * samples::kSecond;
  auto event = samples::zeros<grantd_event>();
  event.time_ns = samples::kBootNow;
  event.slot = event.endpoint_id = 1;
  event.reason = GRANTD_REASON_NOT_YET_VALID;
  EXPECT_THAT(show_event(node, event, kTable), HasSubstr("  (starts 2026-01-01T02:00:00Z, in 2 h)\n"));
  EXPECT_THAT(show_event(node, event, kJson), HasSubstr("\"starts_at\":\"2026-01-01T02:00:00Z\""));
  event.reason = GRANTD_REASON_SOURCE_ADDRESS;  // no other reason has a start
  EXPECT_THAT(show_event(node, event, kTable), Not(HasSubstr("starts")));
  EXPECT_THAT(show_event(node, event, kJson), HasSubstr("\"starts_at\":null"));
}

TEST(Endpoints, SayWhyAGuestIsClosed) {
  const std::string text = show_endpoints(samples::node(), {}, {}, kTable);
  EXPECT_THAT(text, HasSubstr("bob-web   veth-bob(5)"));
  EXPECT_THAT(text, HasSubstr("Grant keystone-system/none does not exist"));
  EXPECT_THAT(text, HasSubstr("The Grant's validUntil has passed."));
}

TEST(Endpoints, OnTheHostNetworkAreNeverCalledSafe) {
  Snapshot node = samples::node();
  node.host_guests[99] = samples::endpoint(0, 4, 1, "10.20.0.9");
  node.host_guests[99].flags = GRANTD_ENDPOINT_HOST_NETWORK;
  node.host_guests[98] = node.endpoints[5];  // the cgroup of a guest that has an interface
  const std::string text = show_endpoints(node, {}, {}, kTable);
  EXPECT_THAT(text, HasSubstr("(host network)"));
  EXPECT_THAT(text, HasSubstr("not_enforced"));
  std::size_t lines = 0;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines++;
  EXPECT_EQ(lines, 5U);
}

TEST(Status, IsTheNodeAtAGlance) {
  const std::string text = show_status(samples::node(), {"/sys/fs/bpf/grantd", false}, kTable);
  EXPECT_THAT(text, HasSubstr("not running; what is attached keeps enforcing"));
  EXPECT_THAT(text, HasSubstr("2 known, 1 active"));
  EXPECT_THAT(text, HasSubstr("3 attached, 2 closed, 0 not enforced"));
  EXPECT_THAT(text, HasSubstr("90 s ago (2025-12-31T23:58:30Z)"));
  EXPECT_THAT(text, HasSubstr("16, last 1 s ago"));
  EXPECT_THAT(show_status(samples::node(), {"/p", true}, kJson), HasSubstr("\"running\": true"));
}

TEST(Status, TellsHowLimitsAreHeldAndWhy) {
  Snapshot node = samples::node();
  node.shaper.mode = GRANTD_SHAPER_HTB;
  copy_text(node.shaper.why, "the kernel has HTB");
  EXPECT_THAT(show_status(node, {"/p", true}, kTable), HasSubstr("htb: the kernel has HTB"));
  EXPECT_THAT(show_status(node, {"/p", true}, kJson),
              testing::ContainsRegex("\"mode\": \"htb\",\n *\"why\": \"the kernel"));
  EXPECT_THAT(show_status(samples::node(), {"/p", true}, kTable), HasSubstr("policer: "));
}

TEST(Status, NamesUplinksByTheirInterfaces) {
  Snapshot node = samples::node();
  node.uplinks[2] = samples::zeros<grantd_uplink>();
  node.uplinks[2].uplink_class = GRANTD_UPLINK_LAN;
  node.uplinks[9] = samples::zeros<grantd_uplink>();
  node.uplinks[9].uplink_class = GRANTD_UPLINK_TAILNET;
  EXPECT_THAT(show_status(samples::node(), {"/p", true}, kTable), HasSubstr("none: whoever sends from outside"));
  const AgentSign agent{"/p", true, {{2, "eth0"}}};
  EXPECT_THAT(show_status(node, agent, kTable), HasSubstr("eth0=lan, 9=tailnet"));
  EXPECT_THAT(show_status(node, agent, kJson), HasSubstr("\"interface\": \"eth0\""));
}

TEST(Top, QuarantineIsClosedAndNotUnlimited) {
  Snapshot before = samples::node(), after = samples::node();
  after.clock.boot_ns += samples::kSecond;
  after.policies.at(12).limit[GRANTD_EGRESS] = samples::zeros<grantd_limit>();
  const std::string text = show_top(before, after, {}, kTable);
  EXPECT_THAT(text, testing::ContainsRegex("quarantine\\) +egress +0 bit/s +closed"));
  EXPECT_THAT(text, testing::ContainsRegex("egress +0 bit/s +unlimited"));
  EXPECT_THAT(show_top(before, after, {}, kJson),
              HasSubstr("\"grant\":\"(quarantine)\",\"direction\":\"egress\",\"bits_per_second\":0,"
                        "\"limit_bits_per_second\":0,"));
}

// Two looks at a Grant under a limit, a second apart; a guest bob-db beside bob-web.
class LimitedTop : public testing::Test {
 protected:
  LimitedTop() : before_(samples::node()) {
    before_.guests[4] = samples::guest("bob-db", "veth-db", 8, 1);
    for (const std::uint32_t endpoint_id : {1U, 4U}) {
      UsageState& state = before_.usage[endpoint_id][GRANTD_EGRESS];
      state.usage.queued_bytes = 1000;
      state.lost_bytes = 0;
    }
    before_.buckets[1][GRANTD_EGRESS].bucket.grant_epoch = 1;
    after_ = before_;
    after_.clock.boot_ns += samples::kSecond;
    web().usage = {2'500'000, 2000, 3'001'000, 2400, 2'500'000, 2000, 125'000, 100};
    web().waiting_bytes = 375'000;
    web().lost_bytes = 125'000;
    db().usage.queued_bytes = 200'000;
    db().usage.returned_bytes = 100'000;
    db().waiting_bytes = 25'000;
    db().lost_bytes = 75'000;
  }
  UsageState& web() { return after_.usage[1][GRANTD_EGRESS]; }
  UsageState& db() { return after_.usage[4][GRANTD_EGRESS]; }
  std::string text() { return show_top(before_, after_, {}, kTable); }
  std::string json() { return show_top(before_, after_, {}, kJson); }

  Snapshot before_, after_;
};

TEST_F(LimitedTop, ShowsWhatEachGuestTakesOfTheLimit) {
  EXPECT_THAT(text(), testing::ContainsRegex("  bob-web +egress +20 Mbit/s +shared +20 % +2000 +- +2 Mbit/s +366"));
  EXPECT_THAT(json(), HasSubstr("{\"guest\":\"bob-web\",\"bits_per_second\":20000000,\"packets_per_second\":2000,"
                                "\"delayed_bits_per_second\":20000000,\"dropped_bits_per_second\":2000000,"
                                "\"queue_bytes\":375000}"));
}

TEST_F(LimitedTop, AddsUpOfAGrantWhatItsGuestsWaitForAndLose) {
  EXPECT_THAT(text(), testing::ContainsRegex("alice-to-bob +egress [^\n]+ 2.6 Mbit/s +391 KiB +1 MiB\n"));
  EXPECT_THAT(json(), HasSubstr("\"delayed_bits_per_second\":20800000,\"dropped_bits_per_second\":2600000,"
                                "\"queue_bytes\":400000,\"bucket_bytes\":1048576,\"guests\":[{"));
}

TEST_F(LimitedTop, WithoutALimitThereIsNothingToAddUp) {
  EXPECT_THAT(text(), testing::ContainsRegex("alice-to-bob +ingress +0 bit/s +unlimited( +[-0])+\n"));
  EXPECT_THAT(json(), HasSubstr("\"delayed_bits_per_second\":null,\"dropped_bits_per_second\":null,"
                                "\"queue_bytes\":null,\"bucket_bytes\":null,\"guests\":[]}"));
}

TEST_F(LimitedTop, WhatIsNotKnownIsNotZero) {
  const std::string web_unknown = "bob-web +egress [^\n]+ \\? +366",
                    grant_unknown = "alice-to-bob +egress [^\n]+ \\? +391";
  web().lost_bytes.reset();
  EXPECT_THAT(text(), testing::AllOf(testing::ContainsRegex(web_unknown), testing::ContainsRegex(grant_unknown)));
  EXPECT_THAT(text(), testing::ContainsRegex("bob-db +egress [^\n]+ 600 kbit/s"));
  EXPECT_THAT(json(), testing::AllOf(HasSubstr("\"dropped_bits_per_second\":null,\"queue_bytes\":375000"),
                                     HasSubstr("\"dropped_bits_per_second\":null,\"queue_bytes\":400000")));
  web().lost_bytes = 125'000;
  before_.usage[1][GRANTD_EGRESS].lost_bytes.reset();
  EXPECT_THAT(text(), testing::AllOf(testing::ContainsRegex(web_unknown), testing::ContainsRegex(grant_unknown)));
}

TEST_F(LimitedTop, AQueueOfWhichTheKernelDidNotTellIsNotEmpty) {
  web().waiting_bytes.reset();
  EXPECT_THAT(text(), testing::AllOf(testing::ContainsRegex("bob-web +egress [^\n]+ 2 Mbit/s +\\? +-\n"),
                                     testing::ContainsRegex("alice-to-bob +egress [^\n]+ 2.6 Mbit/s +\\? +1 MiB\n"),
                                     testing::ContainsRegex("bob-db +egress [^\n]+ 600 kbit/s +24.4 KiB +-\n")));
  EXPECT_THAT(json(), testing::AllOf(HasSubstr("\"dropped_bits_per_second\":2000000,\"queue_bytes\":null}"),
                                     HasSubstr("\"dropped_bits_per_second\":2600000,\"queue_bytes\":null,\"bucket"),
                                     HasSubstr("\"dropped_bits_per_second\":600000,\"queue_bytes\":25000}")));
}

TEST_F(LimitedTop, OfAGuestThatIsNewOrSendsNothingItIsKnown) {
  before_.usage.erase(1);
  db() = {};  // nothing ever went in: nobody needs to read its queue
  before_.usage.erase(4);
  EXPECT_THAT(text(), testing::ContainsRegex("bob-db +egress +0 bit/s [^\n]+ 0 bit/s +0 B"));
  EXPECT_THAT(text(), testing::ContainsRegex("bob-web +egress [^\n]+ 2 Mbit/s +366"));
  EXPECT_THAT(text(), Not(HasSubstr("?")));
}

TEST(Status, TellsWhichLimitRefuses) {
  Snapshot node = samples::node();
  node.bounds[GRANTD_BOUND_FLOWS] = {32768, 32768, 3};
  const std::string text = show_status(node, {"/p", true}, kTable);
  EXPECT_THAT(text, testing::ContainsRegex("flows +32768 +32768 +3"));
  EXPECT_THAT(text, testing::ContainsRegex("grants +0 +0 +0"));
  EXPECT_THAT(show_status(node, {"/p", true}, kJson),
              testing::ContainsRegex("\"flows\": \\{\n *\"limit\": 32768,\n *\"used\": 32768,\n *\"refused\": 3"));
}

}  // namespace
}  // namespace grantd
