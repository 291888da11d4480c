// grantctl explain asks the datapath itself, on live maps, and leaves no trace.
#include "agent/ctl/explain/explain.h"
#include "agent/snapshot/read_snapshot.h"
#include "tests/kernel/private_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::HasSubstr;

class Explain : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    node_ = std::make_unique<PrivateNode>();
    auto stamp = stamp_settings(GRANTD_STAMP_MASK_DEFAULT);
    auto loaded = DryRun::load(node_->pin_root(), stamp.value());
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    datapath_ = std::move(loaded).value();
  }
  static void TearDownTestSuite() {
    datapath_.reset();
    node_.reset();
  }

  Result<std::vector<ExplainedPacket>> ask(const char* source, const char* destination, const Via& via = {}) {
    auto question = parse_question(source, destination);
    if (!question) return question.error();
    auto read = read_snapshot(node_->maps(), {});
    if (!read) return read.error();
    snapshot_ = std::move(read).value();
    auto ends = resolve_ends(snapshot_, question.value().source, question.value().destination);
    if (!ends) return ends.error();
    if (auto usage = check_usage(ends.value(), via, snapshot_); !usage) return Error{"usage: " + usage.error().message};
    return explain(question.value().probes, ends.value(), via, snapshot_, node_->maps(), *datapath_);
  }

  // The one packet's last step: REASON / who decided.
  std::string answer(const char* source, const char* destination, const Via& via = {}) {
    auto packets = ask(source, destination, via);
    if (!packets) return "cannot tell: " + packets.error().message;
    if (packets.value().size() != 1) return std::to_string(packets.value().size()) + " packets";
    const ExplainedStep& step = packets.value()[0].steps.back();
    return std::string(step.hook) + " " + reason_label(step.found.reason) + " / " + decided_by(snapshot_, step) +
           " / " + identity_name(snapshot_, step.found.identity);
  }

  static std::unique_ptr<PrivateNode> node_;
  static std::unique_ptr<DryRun> datapath_;
  Snapshot snapshot_;
};
std::unique_ptr<DryRun> Explain::datapath_;
std::unique_ptr<PrivateNode> Explain::node_;

TEST_F(Explain, TheLineOfTheManifestThatOpensADestination) {
  EXPECT_EQ(answer("bob-web", "203.0.113.7:443/TCP"),
            "from_guest new_flow / grants.yaml:12: 203.0.113.0/24:443/TCP / nobody");
  EXPECT_THAT(answer("bob-web", "203.0.113.7:80/TCP"), HasSubstr("destination_port / nothing in keystone-system/bob"));
  EXPECT_THAT(answer("bob-web", "203.0.113.7:443/UDP"), HasSubstr("destination_port"));
  EXPECT_THAT(answer("bob-web", "8.8.8.8:53/UDP"), HasSubstr("from_guest destination / nothing in"));
}

TEST_F(Explain, TheDefaultsOfTheDesignByTheirNames) {
  for (const char* port : {"192.0.2.10:22/TCP", "192.0.2.10:22/UDP", "192.0.2.10:22/SCTP", "192.0.2.10:ICMP",
                           "[2001:db8:b0b::1]:22/TCP", "[2001:db8:b0b::1]:22/SCTP", "[2001:db8:b0b::1]:ICMP"})
    EXPECT_EQ(answer("bob-web", port),
              "from_guest new_flow / a default of the design: a guest may reach the grantee's realm / realm bob-home")
        << port;
}

TEST_F(Explain, FromOneGuestToAnotherBothAreAsked) {
  EXPECT_THAT(answer("bob-web", "bob-db:5432/TCP"), HasSubstr("to_guest new_flow / spec.networkPolicy.ingress.from: "
                                                              "SameGrant"));
  EXPECT_THAT(answer("bob-web", "10.20.0.3:5432/TCP"), HasSubstr("to_guest new_flow"));
  EXPECT_THAT(answer("bob-web", "carol-web:80/TCP"), HasSubstr("from_guest destination"));
}

TEST_F(Explain, AnAddressIsBelievedOnItsUplinkOnly) {
  EXPECT_EQ(answer("192.0.2.10", "bob-web:80/TCP", {false, "lan"}),
            "to_guest new_flow / a default of the design: the grantee's realm may always reach in / realm bob-home");
  EXPECT_THAT(answer("192.0.2.10", "bob-web:80/TCP", {false, "tail0"}), HasSubstr("to_guest nobody"));
  EXPECT_THAT(answer("198.51.100.7", "bob-web:80/TCP", {false, "uplink0"}), HasSubstr("from: Grantor"));
  EXPECT_THAT(answer("100.64.9.1", "bob-web:80/TCP", {false, "tailnet"}), HasSubstr("not_a_party"));
  EXPECT_THAT(answer("198.51.100.7", "bob-web:80/TCP", {true, ""}), HasSubstr("from: LocalNode"));
  EXPECT_THAT(answer("192.0.2.10", "bob-web:80/TCP", {false, "overlay"}),
              HasSubstr("cannot tell: --via overlay: this node has no uplink of that class; its uplinks: "));

  auto packets = ask("192.0.2.10", "bob-web:80/TCP");
  ASSERT_TRUE(packets.ok()) << packets.error().message;
  ASSERT_EQ(packets.value().size(), 2U);
  EXPECT_NE(packet_passes(packets.value()[0]), packet_passes(packets.value()[1]));
}

TEST_F(Explain, AGuestThatIsClosedAndWhy) {
  EXPECT_THAT(answer("carol-web", "100.64.9.1:80/TCP"),
              HasSubstr("expired / grants.yaml:34: spec.validity.validUntil: 2023-11-14T22:13:20Z"));
  EXPECT_THAT(answer("orphan", "192.0.2.10:80/TCP"), HasSubstr("from_guest quarantine / "));
  EXPECT_THAT(answer("orphan", "192.0.2.10:80/TCP"), HasSubstr("keystone-system/none"));
}

TEST_F(Explain, WhatItCannotTell) {
  for (const Via& via : {Via{false, "lan"}, Via{true, ""}})
    EXPECT_THAT(answer("bob-web", "192.0.2.10:80/TCP", via), HasSubstr("usage: --"));
  EXPECT_THAT(answer("nobody-here", "192.0.2.10:80/TCP"), HasSubstr("known: bob-db, bob-web, carol-web, orphan"));
  EXPECT_THAT(answer("bob-db", "[2001:db8:b0b::1]:80/TCP"), HasSubstr("has no IPv6 address"));
  EXPECT_THAT(answer("bob-web", "10.20.0.2:80/TCP"), HasSubstr("usage: SOURCE and DESTINATION are both guest bob-web"));
  EXPECT_THAT(answer("192.0.2.10", "bob-web:80/TCP", {false, "wlan9"}), HasSubstr("usage: --via wlan9: is neither"));
}

TEST_F(Explain, LeavesNoTrace) {
  const auto trace = [] {
    auto read = read_snapshot(node_->maps(), {true, true, true, false});
    std::string text;
    for (const auto& [slot, counters] : read.value().counters)
      for (const auto& counter : counters) text += std::to_string(counter.packets) + " ";
    for (const auto& [slot, pair] : read.value().buckets)
      for (const BucketState& state : pair)
        text += std::to_string(state.bucket.full_at_ns) + "/" + std::to_string(state.credit_bytes) + " ";
    return text + std::to_string(read.value().flows.size());
  };
  const std::string before = trace();
  EXPECT_TRUE(ask("bob-web", "203.0.113.7:443/TCP").ok());
  EXPECT_TRUE(ask("bob-web", "8.8.8.8:443").ok());
  EXPECT_TRUE(ask("192.0.2.10", "bob-web:80/TCP").ok());
  EXPECT_EQ(trace(), before);

  // The control: the datapath that runs does leave one, in each of the three.
  EXPECT_TRUE(node_->send("bob-web", "203.0.113.7", {Protocol::Tcp, 443}));
  EXPECT_NE(trace(), before);
}

}  // namespace
}  // namespace grantd
