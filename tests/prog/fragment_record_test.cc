// What is remembered of a first fragment, and for how long (rule 10).
#include "agent/node/clock.h"
#include "tests/prog/fixture.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace grantd::prog {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;
constexpr std::uint16_t kMore = 0x2000;

class FragmentRecord : public Prog {
 protected:
  void SetUp() override { id_ = fresh_port(); }

  Sent out(std::uint16_t fragment, const Bytes& payload, std::uint8_t protocol = kTcp) {
    return from_guest(ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, protocol, id_, fragment, {}}, payload)));
  }
  void begin() { expect(out(kMore, tcp(fresh_port(), 80, kSyn, 12)), GRANTD_REASON_NEW_FLOW); }
  Sent later() { return out(4, zeros(16)); }
  FragmentTable table() { return *node().maps().fragment_table(slot_of("bob")).value(); }
  std::pair<grantd_frag_key, grantd_frag> record() {
    const auto all = table().entries().value();
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.first.id == id_; });
    if (found == all.end()) throw std::runtime_error("no fragment");
    return {found->first, found->second};
  }
  template <typename Change>
  void change(Change apply) {
    auto [key, first] = record();
    apply(first);
    first.seal = seal(key, first);
    ASSERT_TRUE(table().put(key, first).ok());
  }
  static Bytes first_of_udp(std::size_t bytes) {
    Bytes part = udp(fresh_port(), 53, 2000);
    part.resize(bytes);
    return part;
  }

  std::uint16_t id_ = 0;
};

TEST_F(FragmentRecord, SaysWhatWasAdmitted) {
  const auto now = boot_now();
  begin();
  const auto [key, first] = record();
  EXPECT_EQ(key.endpoint_id, endpoint_of("web").endpoint_id);
  EXPECT_EQ(key.protocol, kTcp);
  EXPECT_EQ(key.direction, GRANTD_EGRESS);
  EXPECT_EQ(key.pad, 0);
  EXPECT_EQ(first.seal, seal(key, first));
  EXPECT_EQ(first.policy_id, policy_id());
  EXPECT_LE(first.first_seen_ns - now, boot_now() - now);
  EXPECT_EQ(first.header_bytes, 20U);
  EXPECT_EQ(first.identity, 0U) << "of what a guest sends";
}

TEST_F(FragmentRecord, OfIpv6FromAPeer) {
  const char *local = "fd00:20:1234:5678:9abc:def0:8765:4321", *peer = "2001:db8:b0b:f123:9456:789a:bcde:f012";
  const grantd_endpoint web = endpoint_of("web");
  grantd_endpoint more = web;
  const Bytes bytes = address(local);
  std::copy(bytes.begin(), bytes.end(), more.ipv6[3].bytes);
  put_endpoint(more);
  const auto in = [&](std::uint16_t offset_and_more, const Bytes& payload) {
    return to_guest(ethernet(kGuestMac, kFarMac, 0x86dd,
                             ipv6({peer, local, 44, 64}, ipv6_fragment(60, offset_and_more, id_) + payload)),
                    "bob");
  };
  expect(in(1, extension(kUdp) + first_of_udp(64)), GRANTD_REASON_NEW_FLOW);
  const auto [key, first] = record();
  EXPECT_EQ(key.direction, GRANTD_INGRESS);
  EXPECT_EQ(key.protocol, 60) << "as on the wire";
  EXPECT_EQ(first.seal, seal(key, first));
  EXPECT_EQ(first.header_bytes, 16U) << "with what stands before UDP";
  EXPECT_EQ(first.identity, identity_of("bob"));
  expect(in(8, zeros(16)), GRANTD_REASON_FRAGMENT_HEADER);
  expect(in(16, zeros(16)), GRANTD_REASON_FRAGMENT, "where the header ends");
  put_endpoint(web);
}

TEST_F(FragmentRecord, HalfAnothersItIsNobodys) {
  begin();
  const auto [key, whole] = record();
  const auto expect_after = [&, key = key, whole = whole](auto change, grantd_reason reason, const char* what) {
    grantd_frag first = whole;
    change(first);
    ASSERT_TRUE(table().put(key, first).ok());
    expect(later(), reason, what);
  };
  const auto orphan = GRANTD_REASON_FRAGMENT_ORPHAN;
  expect_after([](grantd_frag&) {}, GRANTD_REASON_FRAGMENT, "whole");
  expect_after([](grantd_frag& first) { first.seal ^= 1; }, orphan, "seal");
  expect_after([](grantd_frag& first) { first.policy_id ^= 1; }, orphan, "policy_id");
  expect_after([](grantd_frag& first) { first.first_seen_ns -= 1; }, orphan, "first_seen_ns");
  expect_after([](grantd_frag& first) { first.header_bytes -= 1; }, orphan, "header_bytes");
  expect_after([](grantd_frag& first) { first.identity ^= 1; }, orphan, "identity");
}

TEST_F(FragmentRecord, IsForgottenInTime) {
  // Nothing is older than the machine's last start, which in a machine of its own was just now.
  if (const std::uint64_t now = boot_now(), old = 32 * kSecond; now < old)
    std::this_thread::sleep_for(std::chrono::nanoseconds(old - now));
  begin();
  const auto seen = [&](std::int64_t seconds) {
    change([&](grantd_frag& first) {
      first.first_seen_ns = boot_now() + static_cast<std::uint64_t>(seconds * static_cast<std::int64_t>(kSecond));
    });
    return later();
  };
  expect(seen(-1), GRANTD_REASON_FRAGMENT);
  expect(seen(-20), GRANTD_REASON_FRAGMENT);
  expect(seen(-31), GRANTD_REASON_FRAGMENT_ORPHAN);
  change([](grantd_frag& first) { first.first_seen_ns = 1; });
  expect(later(), GRANTD_REASON_FRAGMENT_ORPHAN, "as old as the machine's last start");
  expect(seen(40), GRANTD_REASON_FRAGMENT, "another CPU's clock is ahead");
}

TEST_F(FragmentRecord, OfAnotherSenderItFollowsNot) {
  begin();
  change([](grantd_frag& first) { first.identity = 4711; });
  expect(later(), GRANTD_REASON_FRAGMENT_ORPHAN);
  change([](grantd_frag& first) { first.identity = 0; });
  expect(later(), GRANTD_REASON_FRAGMENT);
}

TEST_F(FragmentRecord, TouchesNoHeader) {
  begin();
  const auto header = [&](std::uint32_t bytes) {
    change([&](grantd_frag& first) { first.header_bytes = bytes; });
    return later();  // at byte 32
  };
  expect(header(31), GRANTD_REASON_FRAGMENT);
  expect(header(32), GRANTD_REASON_FRAGMENT);
  expect(header(33), GRANTD_REASON_FRAGMENT_HEADER);
}

TEST_F(FragmentRecord, WithoutItsTableNothingFollows) {
  begin();
  const auto slot = slot_of("bob");
  ASSERT_TRUE(node().maps().frag.erase(slot).ok());
  expect(later(), GRANTD_REASON_TABLE_MISSING);
  id_ = fresh_port();
  const Bytes first =
      ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, kTcp, id_, kMore, {}}, tcp(fresh_port(), 80, kSyn, 12)));
  const auto before = counter(slot, GRANTD_EGRESS, GRANTD_REASON_TABLE_MISSING).packets;
  EXPECT_FALSE(run(Hook::FromGuest, first, interface_of("web"), {}).passes);
  EXPECT_EQ(counter(slot, GRANTD_EGRESS, GRANTD_REASON_TABLE_MISSING).packets, before + 1);
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  begin();
  expect(later(), GRANTD_REASON_FRAGMENT);
}

TEST_F(FragmentRecord, ADryRunRemembersNone) {
  const Bytes first =
      ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, kTcp, id_, kMore, {}}, tcp(fresh_port(), 80, kSyn, 12)));
  EXPECT_EQ(explain(Hook::FromGuest, first, "web").reason, GRANTD_REASON_NEW_FLOW);
  EXPECT_THROW(record(), std::runtime_error);
}

TEST_F(FragmentRecord, HowMuchAFragmentMayCarry) {
  begin();
  // 20 bytes of IPv4's header count towards the largest packet: 65535 - 20 - 8 * 8188 = 11.
  expect(out(8188, zeros(11)), GRANTD_REASON_FRAGMENT);
  expect(out(8188, zeros(12)), GRANTD_REASON_MALFORMED);
  expect(out(8, {}), GRANTD_REASON_MALFORMED, "nothing");
  expect(out(8, zeros(1)), GRANTD_REASON_FRAGMENT, "the last one carries what it likes");
  expect(out(kMore | 8, zeros(8)), GRANTD_REASON_FRAGMENT);
  for (std::size_t bytes = 9; bytes < 16; bytes++)
    expect(out(kMore | 8, zeros(bytes)), GRANTD_REASON_MALFORMED, std::to_string(bytes));
  expect(out(static_cast<std::uint16_t>(0x8000 | 8), zeros(8)), GRANTD_REASON_MALFORMED, "the reserved bit");
  expect(out(0x4008, zeros(8)), GRANTD_REASON_FRAGMENT, "not to be fragmented further");
}

}  // namespace
}  // namespace grantd::prog
