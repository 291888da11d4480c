// What grantctl explain is asked, and the frames that it asks the datapath about.
#include "agent/ctl/explain/ends.h"
#include "agent/ctl/explain/frame.h"
#include "agent/ctl/view/explanation.h"
#include "tests/unit/snapshot_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

TEST(Question, OneEndIsAGuestAndOneNamesThePort) {
  const auto out = parse_question("bob-web", "203.0.113.7:443/TCP");
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_EQ(out.value().source.guest, "bob-web");
  EXPECT_EQ(out.value().destination.address, address("203.0.113.7"));
  EXPECT_THAT(out.value().probes, ElementsAre(Probe{Protocol::Tcp, 443}));

  const auto in = parse_question("[2001:db8::1]", "guests/bob.web:53");
  ASSERT_TRUE(in.ok()) << in.error().message;
  EXPECT_EQ(in.value().source.address, address("2001:db8::1"));
  EXPECT_EQ(in.value().destination.guest, "guests/bob.web");
  EXPECT_THAT(in.value().probes, ElementsAre(Probe{Protocol::Tcp, 53}, Probe{Protocol::Udp, 53}));

  EXPECT_THAT(parse_question("192.0.2.1:80/SCTP", "bob-web").value().probes, ElementsAre(Probe{Protocol::Sctp, 80}))
      << "the port of a sender is the one that it sends to";
  EXPECT_THAT(parse_question("bob-web", "bob-db:ICMP").value().probes, ElementsAre(Probe{Protocol::Icmp, 0}));
}

TEST(Question, WithoutAPortIsAPing) {
  for (const auto& [source, destination] :
       {std::pair{"bob-web", "8.8.8.8"}, {"bob-web", "2001:db8::1"}, {"192.0.2.1", "bob-web"}, {"bob-web", "bob-db"}}) {
    const auto question = parse_question(source, destination);
    ASSERT_TRUE(question.ok()) << question.error().message;
    EXPECT_THAT(question.value().probes, ElementsAre(Probe{Protocol::Icmp, 0}));
  }
}

TEST(Question, OfWhatNoGrantCanOpenIsOneToo) {
  EXPECT_TRUE(parse_question("bob-web", "127.0.0.1:80/TCP").ok());
  EXPECT_TRUE(parse_question("bob-web", "224.0.0.251:5353/UDP").ok());
}

TEST(Question, WhatIsNoQuestionIsRefusedWithWhatIsAccepted) {
  const struct {
    const char* source;
    const char* destination;
    const char* why;
  } cases[] = {
      {"192.0.2.1", "192.0.2.2:80", "neither is a guest"},
      {"bob-web:80", "192.0.2.1:80", "both name a port"},
      {"bob-web", "192.0.2.0/24:80", "is not one single address"},
      {"bob-web", "192.0.2.1:80-90/TCP", "is many ports"},
      {"bob-web", "192.0.2.1:0/TCP", "port is not a number from 1"},
      {"bob-web", "realm:carol:80", "is not one single address"},
      {"bob-web", "2001:db8::zz", "2001:db8::zz"},
      {":80/TCP", "192.0.2.1", "not an IPv4"},
      {"", "192.0.2.1:80", ""},
  };
  for (const auto& each : cases) {
    const auto question = parse_question(each.source, each.destination);
    ASSERT_FALSE(question.ok()) << each.source << " " << each.destination;
    EXPECT_THAT(question.error().message, HasSubstr("; accepted: "));
    EXPECT_THAT(question.error().message, HasSubstr(each.why));
  }
}

TEST(Ends, AnAddressOfAGuestIsThatGuest) {
  const Snapshot node = samples::node();
  const auto ends = resolve_ends(node, {"bob-web", {}}, {"", address("10.20.0.3")});
  ASSERT_TRUE(ends.ok()) << ends.error().message;
  EXPECT_EQ(ends.value().destination.guest, "carol-db");
  EXPECT_EQ(ends.value().destination.endpoint->ifindex, 6U);
  EXPECT_EQ(ends.value().source.address, address("10.20.0.2"));
  EXPECT_EQ(resolve_ends(node, {"bob-web", {}}, {"", address("192.0.2.1")}).value().destination.endpoint, nullptr);
}

TEST(Ends, AnAddressIsThatOfTheInterfaceThatIsNotAbandoned) {
  Snapshot node = samples::node();
  node.endpoints[4] = samples::endpoint(4, 2, 0, "10.20.0.3");  // which the guest had before
  EXPECT_EQ(resolve_ends(node, {"bob-web", {}}, {"", address("10.20.0.3")}).value().destination.endpoint->ifindex, 6U);
  node.endpoints[8] = samples::endpoint(8, 2, 0, "10.20.0.3");
  EXPECT_EQ(resolve_ends(node, {"", address("10.20.0.3")}, {"bob-web", {}}).value().source.endpoint->ifindex, 6U);
}

TEST(Frame, HasTheBytesOfTheProtocols) {
  const FrameEnds ends{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, address("10.20.0.2"), address("203.0.113.7")};
  const auto tcp = first_frame(ends, {Protocol::Tcp, 443});
  ASSERT_EQ(tcp.size(), 14U + 20 + 20);
  EXPECT_EQ(tcp[5], 2) << "destination MAC first";
  EXPECT_EQ(tcp[12], 0x08);
  EXPECT_EQ(tcp[17], 40) << "total length";
  EXPECT_EQ(tcp[23], 6);
  EXPECT_EQ(tcp[14 + 20 + 2] << 8 | tcp[14 + 20 + 3], 443);
  EXPECT_EQ(tcp[14 + 20 + 13], 0x02) << "SYN alone";
  EXPECT_EQ(first_frame(ends, {Protocol::Udp, 53}).size(), 14U + 20 + 12);
  EXPECT_EQ(first_frame(ends, {Protocol::Icmp, 0})[34], 8);
  const auto sctp = first_frame(ends, {Protocol::Sctp, 53});
  EXPECT_EQ(sctp[34 + 12], 1) << "INIT";
  EXPECT_EQ(sctp.size(), 34U + 12 + 20);

  const FrameEnds ends6{{}, {}, address("fd00::2"), address("2001:db8::7")};
  const auto icmp = first_frame(ends6, {Protocol::Icmp, 0});
  EXPECT_EQ(icmp.size(), 14U + 40 + 8);
  EXPECT_EQ(icmp[12] << 8 | icmp[13], 0x86dd);
  EXPECT_EQ(icmp[20], 58) << "ICMPv6 has a number of its own on the wire";
  EXPECT_EQ(icmp[54], 128);
}

TEST(Explanation, ReadsAsVerdictReasonAndLine) {
  const Snapshot node = samples::node();
  ExplainedStep step{"from_guest", "bob-web", {}, std::nullopt};
  step.found.policy_id = 11;
  step.found.slot = 1;
  step.found.endpoint_id = 1;
  step.found.reason = GRANTD_REASON_NEW_FLOW;
  step.source = samples::zeros<grantd_source>();
  copy_text(step.source->text, "203.0.113.0/24:443/TCP");
  copy_text(step.source->file, "/etc/grantd/grants.yaml");
  step.source->line = 12;
  EXPECT_EQ(show_explanation(node, {{"bob-web (10.20.0.2)", "203.0.113.7 443/TCP", "", {step}}}, {}),
            "bob-web (10.20.0.2) -> 203.0.113.7 443/TCP:  would pass\n"
            "  at          from_guest of bob-web\n"
            "  reason      new_flow: The packet began a flow, or re-created a lost one, that the policy admits.\n"
            "  receiver    nobody\n"
            "  grant       keystone-system/alice-to-bob, /etc/grantd/grants.yaml:7\n"
            "  policy      11\n"
            "  decided by  /etc/grantd/grants.yaml:12: 203.0.113.0/24:443/TCP\n");
  EXPECT_THAT(show_explanation(node, {{"a", "b", "", {step}}}, {Output::Json, false}), HasSubstr("\"line\": 12"));

  Snapshot in_notice = node;
  in_notice.slot_names.at(1).phase = GRANTD_PHASE_REVOKED;
  step.source.reset();
  for (const auto reason : {GRANTD_REASON_DESTINATION, GRANTD_REASON_NOT_A_PARTY}) {
    step.found.reason = reason;
    EXPECT_THAT(decided_by(node, step), HasSubstr("nothing in keystone-system/alice-to-bob"));
    EXPECT_EQ(decided_by(in_notice, step),
              "spec.revoked of keystone-system/alice-to-bob (/etc/grantd/grants.yaml:7): "
              "in its notice period only admitted flows go on");
  }

  step.source = samples::zeros<grantd_source>();
  copy_text(step.source->file, "/etc/grantd/grants.yaml");
  step.source->line = 12;
  step.found.reason = GRANTD_REASON_REVOKED;
  copy_text(step.source->text, "spec.revoked: true");
  EXPECT_EQ(decided_by(node, step), "/etc/grantd/grants.yaml:12: spec.revoked: true");
  step.source.reset();
  EXPECT_EQ(decided_by(node, step), "spec.revoked of keystone-system/alice-to-bob (/etc/grantd/grants.yaml:7)");

  step.found.reason = GRANTD_REASON_QUARANTINE;
  step.found.slot = 0;
  step.found.endpoint_id = 3;
  EXPECT_EQ(decided_by(node, step), "Grant keystone-system/none does not exist");
  EXPECT_FALSE(packet_passes({"a", "b", "", {step}}));
  EXPECT_FALSE(packet_passes({"a", "b", "", {}})) << "nobody was asked";
}

}  // namespace
}  // namespace grantd
