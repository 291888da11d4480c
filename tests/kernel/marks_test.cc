// The marks that real rules use, written by the programs that write them on real nodes.
#include "agent/marks/collisions.h"
#include "agent/marks/mark_watch.h"
#include "agent/marks/read_marks.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

namespace grantd::test {
namespace {

using testing::IsEmpty;

constexpr const char* kNetns = "kt-marks";

// A network namespace without rules, for each test.
class Marks : public testing::Test {
 protected:
  Marks() { EXPECT_TRUE(run(std::string("ip netns add ") + kNetns)); }
  ~Marks() override { run(std::string("ip netns del ") + kNetns); }

  static void rule(const std::string& command) {
    in_netns(kNetns, [&] { EXPECT_TRUE(run(command)) << command; });
  }
  static MarkFacts read() {
    MarkFacts facts;
    in_netns(kNetns, [&] { facts = all_marks(read_mark_sources()); });
    EXPECT_THAT(facts.unread, IsEmpty());
    EXPECT_FALSE(facts.too_many);
    return facts;
  }
  static std::vector<Problem> collisions() {
    return stamp_collisions(stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value(), read());
  }
};

TEST_F(Marks, ANewNamespaceUsesNone) { EXPECT_THAT(read().uses, IsEmpty()); }

TEST_F(Marks, PolicyRoutingRulesOfBothFamilies) {
  rule("ip rule add priority 100 fwmark 0x1/0xff table 100");
  rule("ip -6 rule add priority 200 fwmark 0x80000 table 52");
  rule("ip rule add priority 300 from 192.0.2.1 table 52");
  EXPECT_EQ(read().uses, (std::set<MarkUse>{
                             {"policy routing rule 100 (IPv4)", MarkAction::Match, 0xff, 0x1},
                             {"policy routing rule 200 (IPv6)", MarkAction::Match, 0xffffffff, 0x80000},
                         }));
}

// What each of these programs writes is understood alike, in whatever form it reaches the kernel.
class XtablesMarks : public Marks, public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(XtablesMarks, OfEveryExtension) {
  const auto [program, owner] = GetParam();
  const auto append = [program = program](const std::string& rest) { rule(program + (" -t mangle " + rest)); };
  append("-N OURS");
  append("-A OURS -j MARK --set-mark 0x1");
  append("-A OURS -j MARK --set-xmark 0x4000/0x4000");
  append("-A OURS -j MARK --or-mark 0x20");
  append("-A OURS -j MARK --and-mark 0xfffffff0");
  append("-A OURS -j MARK --xor-mark 0x700");
  append("-A PREROUTING -p tcp -m mark ! --mark 0x40/0xf0 -m comment --comment marks -j ACCEPT");
  append("-A PREROUTING -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff00");
  append("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff0000 --ctmask 0xff0000");
  append("-A PREROUTING -j CONNMARK --set-mark 0x7");
  append("-A PREROUTING -p tcp -j TPROXY --on-port 15006 --tproxy-mark 0x500/0xf00");
  append("-A PREROUTING -j OURS");
  const std::string chain = std::string(owner) + " mangle OURS", built_in = std::string(owner) + " mangle PREROUTING";
  EXPECT_EQ(read().uses, (std::set<MarkUse>{
                             {chain, MarkAction::Set, 0xffffffff, 0x1},
                             {chain, MarkAction::Set, 0x4000, 0x4000},
                             {chain, MarkAction::Set, 0x20, 0x20},
                             {chain, MarkAction::Set, 0xf, 0},
                             {chain, MarkAction::Overwrite, 0x700, 0},
                             {built_in, MarkAction::Match, 0xf0, 0x40},
                             {built_in, MarkAction::Save, 0xff, 0},
                             {built_in, MarkAction::Overwrite, 0xff0000, 0},
                             {built_in, MarkAction::Set, 0xf00, 0x500},
                         }));
}

INSTANTIATE_TEST_SUITE_P(Programs, XtablesMarks,
                         testing::Values(std::pair{"iptables-legacy", "iptables"},
                                         std::pair{"ip6tables-legacy", "ip6tables"},
                                         std::pair{"iptables-nft", "nftables ip"},
                                         std::pair{"ip6tables-nft", "nftables ip6"}));

TEST_F(Marks, LookingMakesNoTable) {
  read();
  std::string tables;
  in_netns(kNetns, [&] { tables = output_of("cat /proc/thread-self/net/ip_tables_names; nft list ruleset"); });
  EXPECT_EQ(tables, "");
}

TEST_F(Marks, ManyLegacyRulesAreReadWhole) {
  rule(R"(awk 'BEGIN { print "*mangle"; for (i = 0; i < 3000; i++) )"
       R"(printf "-A FORWARD -s 10.0.%d.%d -m mark --mark %d/0x1fff -j ACCEPT\n", i / 250, i % 250, i + 1; )"
       R"(print "COMMIT" }' | iptables-legacy-restore)");
  EXPECT_EQ(read().uses.size(), 3000U);
}

TEST_F(Marks, RulesOfNftables) {
  rule("nft add table inet t; nft add chain inet t c; nft add map inet t m '{ type ipv4_addr : mark; }'");
  rule("nft add table bridge b; nft add chain bridge b c");
  for (const char* each :
       {"meta mark set 0x5", "meta mark set meta mark and 0xffffff00 or 0x12", "meta mark set ct mark",
        "meta mark set ip saddr map @m", "ct mark set meta mark and 0xff00", "meta mark and 0xf0 == 0x30",
        "meta mark 0x700-0x7ff", "meta mark { 0x1, 0x2 } accept", "ip saddr . meta mark { 192.0.2.1 . 0x3 } accept",
        "meta mark and 0x3000 vmap { 0x1000 : accept, 0x2000 : drop }", "ip saddr 192.0.2.1 tcp dport { 1, 2 } accept",
        "ct mark 0x9 accept", "ip6 saddr 2001:db8::1 counter log accept"})
    rule(std::string("nft add rule inet t c '") + each + "'");
  rule("nft add rule bridge b c meta mark set 0x66");
  EXPECT_EQ(read().uses, (std::set<MarkUse>{
                             {"nftables inet t c", MarkAction::Set, 0xffffffff, 0x5},
                             {"nftables inet t c", MarkAction::Set, 0xff, 0x12},
                             {"nftables inet t c", MarkAction::Overwrite, 0xffffffff, 0},
                             {"nftables inet t c", MarkAction::Save, 0xff00, 0},
                             {"nftables inet t c", MarkAction::Match, 0xf0, 0x30},
                             {"nftables inet t c", MarkAction::Test, 0xffffffff, 0},
                             {"nftables inet t c", MarkAction::Test, 0x3000, 0},
                             {"nftables bridge b c", MarkAction::Set, 0xffffffff, 0x66},
                         }));
}

// As these components write them.
const std::vector<std::string> kTailscale = {
    "ip rule add priority 5210 fwmark 0x80000/0xff0000 table main",
    "ip -6 rule add priority 5210 fwmark 0x80000/0xff0000 table main",
    "PROGRAM -N ts-forward",
    "PROGRAM -A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000",
    "PROGRAM -A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT",
    "PROGRAM -t mangle -A PREROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j CONNMARK --restore-mark "
    "--nfmask 0xff0000 --ctmask 0xff0000",
    "PROGRAM -t mangle -A OUTPUT -m conntrack --ctstate NEW -m mark ! --mark 0x0/0xff0000 -j CONNMARK --save-mark "
    "--nfmask 0xff0000 --ctmask 0xff0000",
    "PROGRAM -t nat -A POSTROUTING -m mark --mark 0x40000/0xff0000 -j MASQUERADE"};
const std::vector<std::string> kKubernetes = {
    "PROGRAM -t nat -N KUBE-MARK-MASQ",
    "PROGRAM -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    "PROGRAM -t nat -N KUBE-MARK-DROP",
    "PROGRAM -t nat -A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000",
    "PROGRAM -t nat -N KUBE-POSTROUTING",
    "PROGRAM -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "PROGRAM -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
    "PROGRAM -N KUBE-FORWARD",
    "PROGRAM -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
    "PROGRAM -N KUBE-ROUTER",
    "PROGRAM -A KUBE-ROUTER -m mark --mark 0x20000/0x20000 -j ACCEPT",
    "PROGRAM -A KUBE-ROUTER -j MARK --set-xmark 0x10000/0x10000",
    "PROGRAM -t nat -N CNI-HOSTPORT-SETMARK",
    "PROGRAM -t nat -A CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000"};

class Neighbours : public Marks, public testing::WithParamInterface<const char*> {};

TEST_P(Neighbours, TailscaleAndKubernetesCollideWithNothing) {
  for (const auto* commands : {&kTailscale, &kKubernetes})
    for (std::string command : *commands) {
      const auto at = command.find("PROGRAM");
      if (at != std::string::npos) command.replace(at, 7, GetParam());
      rule(command);
    }
  EXPECT_GE(read().uses.size(), 12U) << "they are seen";
  for (const Problem& each : collisions()) ADD_FAILURE() << each.text();
  // The same, where a mask is in the way of them.
  const auto stamp = stamp_settings(0xffffe000U);
  ASSERT_TRUE(stamp.ok());
  EXPECT_GE(stamp_collisions(stamp.value(), read()).size(), 8U);
  // And where one more rule is in the way of the default.
  rule(std::string(GetParam()) + " -t mangle -A PREROUTING -j MARK --set-mark 0x1");
  ASSERT_EQ(collisions().size(), 1U);
  EXPECT_THAT(collisions()[0].text(), testing::HasSubstr("mangle PREROUTING"));
}

INSTANTIATE_TEST_SUITE_P(Programs, Neighbours, testing::Values("iptables-legacy", "iptables-nft", "ip6tables-nft"));

// As kube-proxy and Tailscale write them where they use nftables themselves.
TEST_F(Marks, NeighboursThatSpeakNftables) {
  rule("nft add table ip t; nft add chain ip t c");
  for (const char* each : {"meta mark set meta mark or 0x4000", "meta mark and 0x4000 == 0 return",
                           "meta mark set meta mark xor 0x4000", "meta mark and 0xff0000 == 0x40000 accept",
                           "meta mark set meta mark and 0xff00ffff xor 0x40000", "ct mark and 0xff0000 != 0 counter"})
    rule(std::string("nft add rule ip t c '") + each + "'");
  EXPECT_EQ(read().uses.size(), 5U) << "they are seen; one is of connections alone";
  for (const Problem& each : collisions()) ADD_FAILURE() << each.text();
  rule("nft add rule ip t c meta mark set 0x4000");
  EXPECT_EQ(collisions().size(), 1U) << "all bits";
}

// In a thread that may not administrate the network: netfilter is refused, policy routing is not.
void without_rights(const std::function<void()>& action) {
  std::thread([&] {
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct rights[2]{};
    ASSERT_EQ(syscall(SYS_capget, &head, rights), 0);
    rights[0].effective &= ~(1U << CAP_NET_ADMIN);
    ASSERT_EQ(syscall(SYS_capset, &head, rights), 0);
    action();
  }).join();
}

TEST_F(Marks, WhatIsRefusedIsToldAndTheRestIsSeen) {
  rule("ip rule add priority 100 fwmark 0x1/0xff table 100");
  rule("iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 0x1");
  rule("iptables-legacy -t nat -A PREROUTING -j ACCEPT");
  MarkFacts facts;
  in_netns(kNetns, [&] { without_rights([&] { facts = all_marks(read_mark_sources()); }); });
  EXPECT_EQ(facts.uses, (std::set<MarkUse>{{"policy routing rule 100 (IPv4)", MarkAction::Match, 0xff, 0x1}}));
  EXPECT_THAT(facts.unread,
              testing::UnorderedElementsAre(testing::HasSubstr("nftables"), testing::HasSubstr("iptables mangle"),
                                            testing::HasSubstr("iptables nat")));
  EXPECT_EQ(unread_marks(facts).size(), 3U);
}

// Who may not read the names of the tables does not take it for that there are none.
TEST_F(Marks, NamesOfTablesThatAreRefusedAreTold) {
  rule("iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 0x1");
  MarkFacts facts;
  in_netns(kNetns, [&] {
    std::thread([&] {
      constexpr uid_t kNobody = 65534;
      ASSERT_EQ(syscall(SYS_setresgid, kNobody, kNobody, kNobody), 0);  // of this thread alone, unlike the C library's
      ASSERT_EQ(syscall(SYS_setresuid, kNobody, kNobody, kNobody), 0);
      read_legacy_marks(facts);
    }).join();
  });
  ASSERT_FALSE(facts.unread.empty());
  EXPECT_THAT(facts.unread[0], testing::HasSubstr("ip_tables_names: Permission denied"));
}

bool looked_again(MarkWatch& watch) {
  watch.look();
  pollfd waiting{watch.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 10'000), 1);
  return watch.drain();
}

// The watch looks at the namespace of the thread that asks.
TEST_F(Marks, AWatchTellsWhatIsNew) {
  in_netns(kNetns, [] {
    auto watch = MarkWatch::open();
    ASSERT_TRUE(watch) << watch.error().message;
    const auto looked = [&] { return looked_again(*watch.value()); };
    EXPECT_FALSE(watch.value()->facts());
    EXPECT_FALSE(watch.value()->drain()) << "nobody has looked";
    EXPECT_TRUE(looked()) << "the first";
    EXPECT_FALSE(looked()) << "nothing is new";
    EXPECT_TRUE(run("ip rule add priority 100 fwmark 0x1/0xff table 100"));
    EXPECT_TRUE(looked());
    EXPECT_EQ(watch.value()->facts()->uses.size(), 1U);
    EXPECT_TRUE(run("ip rule del priority 100"));
    EXPECT_TRUE(looked());
    EXPECT_THAT(watch.value()->facts()->uses, IsEmpty());
  });
}

TEST_F(Marks, ARefusalKeepsWhatThatSourceToldAndNoMore) {
  rule("ip rule add priority 100 fwmark 0x1/0xff table 100");
  rule("iptables-nft -t mangle -A PREROUTING -j MARK --set-mark 0x1");
  in_netns(kNetns, [] {
    auto watch = MarkWatch::open();
    ASSERT_TRUE(watch) << watch.error().message;
    const auto looked = [&] { return looked_again(*watch.value()); };
    EXPECT_TRUE(looked());
    EXPECT_EQ(watch.value()->facts()->uses.size(), 2U);
    EXPECT_TRUE(run("ip rule del priority 100"));
    without_rights([&] { EXPECT_TRUE(looked()); });
    EXPECT_THAT(watch.value()->facts()->unread, testing::SizeIs(1));
    EXPECT_EQ(watch.value()->facts()->uses,
              (std::set<MarkUse>{{"nftables ip mangle PREROUTING", MarkAction::Set, 0xffffffff, 0x1}}));
    EXPECT_TRUE(looked()) << "no longer refused";
    EXPECT_THAT(watch.value()->facts()->unread, IsEmpty());
  });
}

}  // namespace
}  // namespace grantd::test
