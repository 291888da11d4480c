// Values to the text that Prometheus reads, checked by Prometheus' own linter.
#include "agent/metrics/metrics_text.h"
#include "agent/metrics/listen_address.h"
#include "tests/unit/snapshot_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <sstream>

namespace grantd {
namespace {

using testing::HasSubstr;
using testing::Not;

AgentStatus status() {
  AgentStatus status;
  status.ready = true;
  status.mechanism = "tcx";
  status.refused = {"keystone-system/wrong"};
  status.apply_durations.add(3'000'000);
  status.apply_durations.add(2'000'000'000);
  status.apply_durations.add(20'000'000'000);
  status.apply_errors = {{"attach", 2}};
  status.sources = {{"manifests", 4, 1'767'225'600, {}}};
  status.open_guests = 3;
  status.drift_repaired = 5;
  return status;
}

Snapshot full_node() {
  Snapshot node = samples::node();
  node.buckets[1] = {};
  node.buckets[2] = {};
  node.slot_names[2].valid_until_seconds = 1'767'225'540;
  node.fills["grantd_rule"] = {7, GRANTD_MAX_RULES};
  node.bounds[GRANTD_BOUND_GRANTS] = {2, 2, 1};
  node.bounds[GRANTD_BOUND_REALM_PREFIXES] = {65536, 5, 0};
  return node;
}

TEST(Metrics, CountersHaveTheLabelsOfTheDesign) {
  const std::string text = metrics_text(full_node(), status());
  EXPECT_THAT(text, HasSubstr("grantd_violations_total{grant=\"keystone-system/alice-to-bob\",grantor=\"alice-home\","
                              "grantee=\"bob-home\",direction=\"egress\",reason=\"destination\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("grantd_violation_bytes_total{grant=\"keystone-system/alice-to-bob\",grantor=\"alice-"
                              "home\",grantee=\"bob-home\",direction=\"egress\",reason=\"destination\"} 2048\n"));
  EXPECT_THAT(text, HasSubstr("grantd_packets_total{grant=\"keystone-system/alice-to-bob\",grantor=\"alice-home\","
                              "grantee=\"bob-home\",direction=\"egress\"} 1000\n"));
  EXPECT_THAT(text, HasSubstr("grantd_violations_total{grant=\"(quarantine)\",grantor=\"\",grantee=\"\","
                              "direction=\"egress\",reason=\"quarantine\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("reason=\"established\"")));
  EXPECT_THAT(text, Not(HasSubstr("grantd_packets_total{grant=\"(quarantine)\"")));
}

TEST(Metrics, EachKindOfTheApiServerHasItsOwn) {
  AgentStatus with = status();
  const std::int64_t now = samples::kWallNow, second = 1'000'000'000;
  with.sources.push_back({"pods", 2, 0, FollowedStatus{3, now - 5 * second, now - 5 * second, true}});
  with.sources.push_back({"grants", 0, 0, FollowedStatus{0, now - 40 * second, now - 40 * second, false}});
  with.sources.push_back({"realms", 1, 0, FollowedStatus{}});
  with.written = WrittenStatus{7, 1, 5, 2, 3};
  const std::string text = metrics_text(full_node(), with);
  EXPECT_THAT(text, HasSubstr("grantd_source_errors_total{source=\"pods\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_source_relists_total{source=\"pods\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("grantd_source_last_contact_timestamp_seconds{source=\"pods\"} 1767225595\n"));
  EXPECT_THAT(text, HasSubstr("grantd_source_lag_seconds{source=\"pods\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("grantd_source_lag_seconds{source=\"grants\"} 40\n"));
  EXPECT_THAT(text, Not(HasSubstr("grantd_source_lag_seconds{source=\"realms\"}"))) << "never known";
  EXPECT_THAT(text, Not(HasSubstr("grantd_source_relists_total{source=\"manifests\"}")));
  EXPECT_THAT(text, HasSubstr("grantd_status_writes_total{result=\"failed\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_events_total{result=\"held_back\"} 3\n"));
  EXPECT_THAT(metrics_text(full_node(), status()), Not(HasSubstr("grantd_events_total")));
}

TEST(Metrics, GrantsHaveOnePhaseThatIsTheKernels) {
  const std::string text = metrics_text(full_node(), status());
  EXPECT_THAT(text, HasSubstr("grantd_grant_phase{grant=\"keystone-system/alice-to-bob\",phase=\"Active\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_grant_phase{grant=\"keystone-system/alice-to-bob\",phase=\"Expired\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("grantd_grant_phase{grant=\"keystone-system/alice-to-carol\",phase=\"Expired\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_grant_valid_until_timestamp_seconds{grant=\"keystone-system/alice-to-carol\"} "
                              "1767225540\n"));
  EXPECT_THAT(text, HasSubstr("grantd_grant_refused{grant=\"keystone-system/wrong\"} 1\n"));
  Snapshot closed = full_node();
  closed.published.erase(1);
  EXPECT_THAT(metrics_text(closed, status()),
              HasSubstr("grantd_grant_phase{grant=\"keystone-system/alice-to-bob\",phase=\"Active\"} 0\n"));
}

TEST(Metrics, AGrantEndsWhenTheKernelEndsItIfThatIsSooner) {
  const std::string series = "grantd_grant_valid_until_timestamp_seconds{grant=\"keystone-system/alice-to-bob\"} ";
  Snapshot node = full_node();
  EXPECT_THAT(metrics_text(node, status()), Not(HasSubstr(series))) << "it has no end";
  node.slot_names[1].valid_until_seconds = 1'767'225'700;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr(series + "1767225700\n")) << "the kernel knows of none yet";
  auto& not_after = node.policies[11].not_after_ns;
  for (const std::uint64_t seconds : {100U, 200U}) {
    not_after = samples::kBootNow + seconds * samples::kSecond - 3'000;  // as two readings of the clocks differ
    EXPECT_THAT(metrics_text(node, status()), HasSubstr(series + "1767225700\n"));
  }
  not_after = samples::kBootNow + 60 * samples::kSecond;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr(series + "1767225660\n")) << "a notice that runs out before";
  not_after = 1;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr(series + "1767220600\n")) << "when the node booted";
  node.slot_names[1].valid_until_seconds = 0;
  not_after = samples::kBootNow + 60 * samples::kSecond;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr(series + "1767225660\n")) << "a notice, and no validUntil";
}

TEST(Metrics, BucketsAreThereWhereALimitIs) {
  const std::string text = metrics_text(full_node(), status());
  EXPECT_THAT(
      text, HasSubstr("grantd_bandwidth_limit_bytes_per_second{grant=\"keystone-system/alice-to-bob\",grantor=\"alice-"
                      "home\",grantee=\"bob-home\",direction=\"egress\"} 12500000\n"));
  EXPECT_THAT(text, HasSubstr("grantd_bucket_level_bytes{grant=\"keystone-system/alice-to-bob\""));
  EXPECT_THAT(text, Not(HasSubstr("grantd_bucket_level_bytes{grant=\"keystone-system/alice-to-carol\"")));
}

// promtool does not look for series that are there twice.
TEST(Metrics, AGuestWithSeveralInterfacesHasOneSeries) {
  Snapshot node = full_node();
  node.usage[1][GRANTD_EGRESS].usage.allowed_bytes = 5000;
  for (const std::uint32_t id : {71U, 72U, 73U}) {
    node.guests[id] = node.guests.at(1);
    node.usage[id][GRANTD_EGRESS].usage.allowed_bytes = 300;
    if (id > 71) node.guests[id].slot = 0;  // it has left them
  }
  const std::string text = metrics_text(node, status());
  EXPECT_THAT(text, HasSubstr("grantd_limited_bytes_total{grant=\"keystone-system/alice-to-bob\",guest=\"bob-web\","
                              "direction=\"egress\",outcome=\"allowed\"} 5300\n"));
  EXPECT_THAT(text, Not(HasSubstr("grantd_limited_bytes_total{grant=\"(quarantine)\"")));
  std::set<std::string> seen;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#")) continue;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
}

TEST(Metrics, GuestsUnderALimitAreAccounted) {
  Snapshot node = full_node();
  UsageState& state = node.usage[1][GRANTD_EGRESS];
  state.usage = {5000, 5, 4000, 4, 2500, 2, 300, 1};
  state.waiting_bytes = 1000;
  state.lost_bytes = 500;
  node.usage[99][GRANTD_EGRESS].usage.allowed_bytes = 7;  // a guest that is gone
  grantd_delay& delay = node.delays[1][GRANTD_EGRESS];
  delay.packets[0] = 3;
  delay.packets[2] = 1;
  delay.packets[GRANTD_DELAY_BINS - 1] = 1;
  delay.total_us = 2'500'000;
  const std::string text = metrics_text(node, status());
  const std::string guest = "{grant=\"keystone-system/alice-to-bob\",guest=\"bob-web\",direction=\"egress\"";
  EXPECT_THAT(text, HasSubstr("grantd_limited_bytes_total" + guest + ",outcome=\"allowed\"} 5000\n"));
  EXPECT_THAT(text, HasSubstr("grantd_limited_bytes_total" + guest + ",outcome=\"delayed\"} 2500\n"));
  EXPECT_THAT(text, HasSubstr("grantd_limited_bytes_total" + guest + ",outcome=\"refused\"} 300\n"));
  EXPECT_THAT(text, HasSubstr("grantd_limited_bytes_total" + guest + ",outcome=\"lost\"} 500\n"));
  EXPECT_THAT(text, HasSubstr("grantd_queue_bytes" + guest + "} 1000\n"));
  EXPECT_THAT(text, Not(HasSubstr("endpoint 99")));
  const std::string grant =
      "{grant=\"keystone-system/alice-to-bob\",grantor=\"alice-home\",grantee=\"bob-home\","
      "direction=\"egress\"";
  EXPECT_THAT(text, HasSubstr("grantd_queue_delay_seconds_count" + grant + "} 5\n"));
  EXPECT_THAT(text, HasSubstr("grantd_queue_delay_seconds_sum" + grant + "} 2.5\n"));
  EXPECT_THAT(text, HasSubstr("grantd_queue_delay_seconds_bucket" + grant + ",le=\"0.000128\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("grantd_queue_delay_seconds_bucket" + grant + ",le=\"0.000512\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("grantd_queue_delay_seconds_bucket" + grant + ",le=\"+Inf\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("grantd_shaper_info{mode=\"policer\""));
}

TEST(Metrics, AQueueOfWhichTheKernelDidNotTellHasNoSample) {
  Snapshot node = full_node();
  node.usage[1][GRANTD_EGRESS].waiting_bytes.reset();
  node.usage[1][GRANTD_INGRESS].waiting_bytes = 0;
  const std::string text = metrics_text(node, status());
  const std::string guest = "grantd_queue_bytes{grant=\"keystone-system/alice-to-bob\",guest=\"bob-web\",direction=";
  EXPECT_THAT(text, Not(HasSubstr(guest + "\"egress\"")));
  EXPECT_THAT(text, HasSubstr(guest + "\"ingress\"} 0\n")) << "the control";
}

TEST(Metrics, WhetherTheGateStands) {
  AgentStatus agent = status();
  EXPECT_THAT(metrics_text(full_node(), agent), testing::Not(HasSubstr("grantd_gate_in_place"))) << "nobody has looked";
  agent.gate_missing = "";
  EXPECT_THAT(metrics_text(full_node(), agent), HasSubstr("grantd_gate_in_place 1\n"));
  agent.gate_missing = "no nf_tables";
  EXPECT_THAT(metrics_text(full_node(), agent), HasSubstr("grantd_gate_in_place 0\n"));
}

TEST(Metrics, TheAgentsOwn) {
  const std::string text = metrics_text(full_node(), status());
  EXPECT_THAT(text, HasSubstr("grantd_endpoints 3\n"));
  EXPECT_THAT(text, HasSubstr("grantd_map_entries{map=\"grantd_rule\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("grantd_apply_duration_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_apply_duration_seconds_bucket{le=\"5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_apply_duration_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("grantd_apply_errors_total{operation=\"attach\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_source_errors_total{source=\"manifests\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("grantd_open_guests 3\n"));
  EXPECT_THAT(text, HasSubstr("grantd_drift_repaired_total 5\n"));
  EXPECT_THAT(text, HasSubstr("attach=\"tcx\"} 1\n"));
}

// As `grantctl status` counts them: a Grant that is over governs nobody, though its policy is still published.
TEST(Metrics, GuestsOfAGrantThatIsOverAreInQuarantine) {
  Snapshot node = full_node();
  EXPECT_THAT(metrics_text(node, status()), HasSubstr("grantd_quarantined_endpoints 2\n")) << "orphan, and one expired";
  EXPECT_EQ(quarantined_endpoints(node), 2U);
  node.policies[11].not_after_ns = samples::kBootNow;
  node.policies[11].end_reason = GRANTD_REASON_REVOKED;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr("grantd_quarantined_endpoints 3\n"));
  for (const std::uint32_t id : {11U, 12U}) node.policies[id].not_after_ns = GRANTD_TIME_NEVER;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr("grantd_quarantined_endpoints 1\n"));
  node.policies[12].not_before_ns = samples::kBootNow + 1;
  EXPECT_THAT(metrics_text(node, status()), HasSubstr("grantd_quarantined_endpoints 2\n")) << "not yet begun";
}

TEST(Metrics, LimitsHaveTheirUseAndWhatTheyRefuse) {
  const std::string text = metrics_text(full_node(), status());
  EXPECT_THAT(text, HasSubstr("grantd_node_limit{limit=\"grants\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_node_limit_used{limit=\"grants\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("grantd_node_limit_refused{limit=\"grants\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grantd_node_limit{limit=\"realm_prefixes\"} 65536\n"));
  EXPECT_THAT(text, Not(HasSubstr("limit=\"flows\""))) << "nothing was compiled for it";
}

TEST(Metrics, PromtoolHasNothingToSay) {
  FILE* linter = popen("promtool check metrics 2>&1", "w");
  ASSERT_NE(linter, nullptr);
  const std::string text = metrics_text(full_node(), status());
  EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), linter), text.size());
  EXPECT_EQ(pclose(linter), 0) << text;
}

// Every reason in both directions is the most that a Grant's guests can bring about.
TEST(Metrics, SeriesAreBoundedWhateverGuestsDo) {
  const auto series = [](const std::string& text) {
    std::istringstream stream(text);
    std::size_t count = 0;
    for (std::string line; std::getline(stream, line);) count += !line.starts_with("#");
    return count;
  };
  Snapshot node = full_node();
  const std::size_t before = series(metrics_text(node, status()));
  for (auto& counter : node.counters[1]) counter = {1'000'000, 1'000'000, 1, 0};
  std::size_t reasons = 0;
  for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) reasons += !reason_passes(reason);
  const std::size_t after = series(metrics_text(node, status()));
  EXPECT_GT(after, before);
  EXPECT_LE(after, before + 2 * 2 * reasons);
  node.flows.resize(10'000);
  EXPECT_EQ(series(metrics_text(node, status())), after);
}

TEST(ListenAddress, IsAnAddressAndAPort) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:9786").value().port, 9786);
  EXPECT_EQ(parse_listen_address("[::1]:0").value().host, "::1");
  for (const char* wrong : {"", "9786", "127.0.0.1", "127.0.0.1:", "::1:80", "[127.0.0.1]:80", "host:80",
                            "127.0.0.1:65536", "127.0.0.1:8x", "127.0.0.1:-1"})
    EXPECT_FALSE(parse_listen_address(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace grantd
