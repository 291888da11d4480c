// Programs on interfaces, by tcx and by clsact, with real packets.
#include "agent/attach/attacher.h"
#include "agent/attach/links.h"
#include "tests/kernel/sandbox.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

namespace grantd::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

// The programs of one agent, all with the same verdict.
struct Programs {
  explicit Programs(int verdict) {
    for (Hook hook : {Hook::FromGuest, Hook::ToGuest, Hook::FromUplink}) all.emplace(hook, program_for(hook, verdict));
    for (Hook hook : {Hook::Connect4, Hook::Connect6, Hook::SkbEgress, Hook::SkbIngress})
      all.emplace(hook, program_for(hook, verdict == kDrop ? 0 : 1));
  }
  std::map<Hook, std::uint32_t> ids() const {
    std::map<Hook, std::uint32_t> result;
    for (const auto& [hook, program] : all) result[hook] = program.id;
    return result;
  }
  std::map<Hook, int> fds() const {
    std::map<Hook, int> result;
    for (const auto& [hook, program] : all) result[hook] = program.fd.get();
    return result;
  }
  std::map<Hook, Program> all;
};

Result<void> attach(Attacher& attacher, const Attachment& attachment, const Programs& programs) {
  const Program& program = programs.all.at(attachment.hook);
  return attacher.attach(attachment, program.fd.get(), program.id);
}

#define ASSERT_DONE(expression) \
  if (const auto done = (expression); !done) GTEST_FAIL() << #expression << ": " << done.error().message

// Somebody else's program, put before all that are there, on the way from the guest; gone with this object.
class Intruder {
 public:
  Intruder(const Pair& pair, const Program& program, bool tcx) {
    if (tcx) {
      auto link = create_tcx_link(Hook::FromGuest, pair.ifindex(), program.fd.get());
      EXPECT_TRUE(link);
      if (link) link_ = std::move(link).value();
      return;
    }
    hook_.sz = sizeof(hook_);
    hook_.ifindex = static_cast<int>(pair.ifindex());
    hook_.attach_point = BPF_TC_INGRESS;
    bpf_tc_hook_create(&hook_);
    filter_.sz = sizeof(filter_);
    filter_.priority = 1;
    filter_.prog_fd = program.fd.get();
    EXPECT_EQ(bpf_tc_attach(&hook_, &filter_), 0);
  }
  ~Intruder() {
    if (!hook_.sz) return;
    filter_.prog_fd = 0;
    filter_.prog_id = filter_.flags = 0;
    bpf_tc_detach(&hook_, &filter_);
  }
  Intruder(const Intruder&) = delete;
  Intruder& operator=(const Intruder&) = delete;

 private:
  Descriptor link_;
  bpf_tc_hook hook_{};
  bpf_tc_opts filter_{};
};

bool kernel_has_tcx(const Pair& pair) {
  const Program program = program_for(Hook::FromGuest, kNext);
  return create_tcx_link(Hook::FromGuest, pair.ifindex(), program.fd.get()).ok();
}

class Attach : public testing::TestWithParam<AttachMode> {
 protected:
  void SetUp() override {
    if (tcx() && !kernel_has_tcx(pair)) GTEST_SKIP() << "this kernel has no tcx";
  }
  void TearDown() override { ASSERT_DONE(attacher.detach_all()); }
  bool tcx() const { return GetParam() == AttachMode::Tcx; }

  Pair pair{"kt0"};
  Attacher attacher{pin_root(), GetParam()};
  Programs dropping{kDrop}, passing{kNext};
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0}, to{Hook::ToGuest, pair.ifindex(), 0},
      uplink{Hook::FromUplink, pair.ifindex(), 0};
};

INSTANTIATE_TEST_SUITE_P(Kinds, Attach, testing::Values(AttachMode::Tcx, AttachMode::Clsact),
                         [](const auto& info) { return info.param == AttachMode::Tcx ? "tcx" : "clsact"; });

TEST_P(Attach, EachHookStopsItsDirectionOnly) {
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_TRUE(pair.passes_to_guest());
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_TRUE(pair.passes_to_guest());
  ASSERT_DONE(attacher.detach(from));
  ASSERT_DONE(attach(attacher, to, dropping));
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_FALSE(pair.passes_to_guest());
  ASSERT_DONE(attacher.detach(to));
  EXPECT_TRUE(pair.passes_to_guest());
  EXPECT_EQ(attacher.mechanism(), tcx() ? "tcx" : "clsact");
}

TEST_P(Attach, AProgramThatSaysNextLetsPacketsPass) {
  for (const Attachment& each : {from, to}) ASSERT_DONE(attach(attacher, each, passing));
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_TRUE(pair.passes_to_guest());
}

TEST_P(Attach, PresentTellsWhatTheKernelHas) {
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_DONE(attach(attacher, to, dropping));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, to));
  EXPECT_THAT(attacher.present(passing.ids()).value().first, IsEmpty()) << "another agent's programs";
  Attacher fresh(pin_root(), GetParam());
  EXPECT_THAT(fresh.present(dropping.ids()).value().first, UnorderedElementsAre(from, to));
  ASSERT_DONE(attacher.detach(from));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(to));
}

TEST_P(Attach, StandsBeforeAnotherThatAccepts) {
  const Program foreign = foreign_program(kAccept);
  const Intruder intruder(pair, foreign, tcx());
  EXPECT_TRUE(pair.passes_from_guest());
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));
}

TEST_P(Attach, AnotherThatGetsBeforeItIsSeenAndPassedBy) {
  ASSERT_DONE(attach(attacher, from, dropping));
  const Program foreign = foreign_program(kAccept);
  const Intruder intruder(pair, foreign, tcx());
  ASSERT_TRUE(pair.passes_from_guest()) << "the intruder is not in front, this test shows nothing";
  EXPECT_THAT(attacher.present(dropping.ids()).value(), testing::FieldsAre(IsEmpty(), UnorderedElementsAre(from)));
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));
}

TEST_P(Attach, NoPacketPassesWhileItIsReplacedOrMoved) {
  ASSERT_DONE(attach(attacher, from, dropping));
  const Program foreign = foreign_program(kNext);
  const Programs newer(kDrop);
  const auto crossed = pair.from_guest_during([&] {
    for (int round = 0; round < 20; round++) {
      ASSERT_DONE(attach(attacher, from, round % 2 ? dropping : newer));
      ASSERT_TRUE(attacher.adopt((round % 2 ? newer : dropping).fds()));
      const Intruder intruder(pair, foreign, tcx());
      ASSERT_DONE(attach(attacher, from, dropping));
    }
  });
  EXPECT_EQ(crossed.arrived, 0) << "of " << crossed.sent;
  ASSERT_DONE(attacher.detach(from));
  EXPECT_GT(pair.from_guest_during([] {}).arrived, 0);
}

TEST_P(Attach, NoPacketIsLostWhileAProgramIsReplaced) {
  ASSERT_DONE(attach(attacher, from, passing));
  const Programs newer(kNext);
  const auto crossed = pair.from_guest_during([&] {
    for (int round = 0; round < 20; round++) ASSERT_TRUE(attacher.adopt((round % 2 ? passing : newer).fds()));
  });
  EXPECT_EQ(crossed.arrived, crossed.sent);
}

TEST_P(Attach, AdoptsWhatAnEarlierAgentLeft) {
  ASSERT_DONE(attach(attacher, from, passing));
  ASSERT_DONE(attach(attacher, to, passing));
  Attacher newer(pin_root(), GetParam());
  const auto adopted = newer.adopt(dropping.fds());
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted.value(), 2U);
  EXPECT_EQ(newer.mechanism(), tcx() ? "tcx" : "clsact");
  EXPECT_THAT(newer.present(dropping.ids()).value().first, UnorderedElementsAre(from, to));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_FALSE(pair.passes_to_guest());
}

TEST_P(Attach, AnInterfaceMadeAgainWithTheSameIndexIsSeenAsBare) {
  const auto index = std::to_string(pair.ifindex());
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_TRUE(run("ip link del kt0 && ip link add kt0 index " + index + " type veth peer name kt0-peer"));
  ASSERT_EQ(std::to_string(pair.ifindex()), index);
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));
}

TEST_P(Attach, ALinkOfAnInterfaceThatIsGoneIsNoTrouble) {
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_TRUE(run("ip link del kt0"));
  const auto adopted = attacher.adopt(passing.fds());
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted.value(), 0U);
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(pin_root() + "/links"));
  EXPECT_FALSE(attach(attacher, from, dropping));
  ASSERT_DONE(attacher.detach(from));
}

TEST_P(Attach, RolesOfOneInterfaceDoNotEndEachOther) {
  ASSERT_DONE(attach(attacher, uplink, passing));
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_DONE(attacher.detach(uplink));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));
}

TEST_P(Attach, OthersStayWhenAllOfOursGo) {
  const Program foreign = foreign_program(kDrop);
  Pair other("kt1", 2);
  const Intruder stays(other, foreign, tcx());
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_DONE(attach(attacher, to, dropping));
  ASSERT_DONE(attacher.detach_all());
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_TRUE(pair.passes_to_guest());
  EXPECT_THAT(output_of("tc qdisc show dev kt0"), Not(HasSubstr("clsact")));
  EXPECT_FALSE(other.passes_from_guest());
  EXPECT_TRUE(std::filesystem::is_empty(pin_root() + "/links"));
}

class AttachTcx : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernel_has_tcx(pair)) GTEST_SKIP() << "this kernel has no tcx";
  }

  Pair pair{"kt0"};
  Attacher attacher{pin_root(), AttachMode::Tcx};
  const Programs dropping{kDrop};
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
};

// A move that was cut short: the new link stands in front under its passing name.
TEST_F(AttachTcx, AMoveThatWasCutShortIsFinished) {
  ASSERT_DONE(attach(attacher, from, dropping));
  const std::string path = pin_root() + "/links/from_guest-" + std::to_string(pair.ifindex());
  std::filesystem::rename(path, pin_root() + "/links/moving-from_guest-" + std::to_string(pair.ifindex()));
  Attacher next(pin_root(), AttachMode::Tcx);
  EXPECT_THAT(next.present(dropping.ids()).value().first, IsEmpty());
  ASSERT_TRUE(next.adopt(dropping.fds()));
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_THAT(next.present(dropping.ids()).value().first, UnorderedElementsAre(from));
  ASSERT_DONE(next.detach_all());
  EXPECT_TRUE(pair.passes_from_guest());
}

// A pin that does not say where its link stands, as after a move of the interface to another index.
// An index is an interface's own in its namespace alone: here another one may have it.
TEST_F(AttachTcx, ALinkInAnotherNamespaceOutlivesTheNextInterfaceOfItsIndex) {
  const Programs &first = dropping, second(kDrop);
  const std::string index = std::to_string(from.ifindex);
  ASSERT_DONE(attach(attacher, from, first));
  ASSERT_TRUE(run("ip netns add kt-away && ip link set kt0 netns kt-away"));
  ASSERT_EQ(output_of("ip -n kt-away -o link show kt0").substr(0, index.size() + 1), index + ":")
      << "it keeps its index";
  ASSERT_TRUE(run("ip link add kt9 index " + index + " type veth peer name kt9p"));
  // No program of ours: there its index may be that of an interface that is here.
  const auto closed_away = [&] {
    std::vector<std::uint32_t> programs;
    in_netns("kt-away", [&] { programs = tcx_programs(from.hook, from.ifindex).value(); });
    return programs.size() == 1 && programs[0] != first.ids().at(from.hook);
  };

  EXPECT_FALSE(attacher.is_held(from).value());
  EXPECT_THAT(attacher.present(first.ids()).value().first, IsEmpty());
  ASSERT_DONE(attach(attacher, from, second));
  EXPECT_TRUE(closed_away());
  EXPECT_THAT(attacher.present(second.ids()).value().first, UnorderedElementsAre(from));
  ASSERT_DONE(attach(attacher, from, second));  // as an agent that starts again
  EXPECT_TRUE(closed_away());
  ASSERT_TRUE(Attacher(pin_root(), AttachMode::Tcx).adopt(first.fds()));
  EXPECT_TRUE(closed_away()) << "not for a moment as that agent reads the rest";
  ASSERT_TRUE(Attacher(pin_root(), AttachMode::Tcx).adopt(second.fds()));
  ASSERT_DONE(attacher.detach(from));
  EXPECT_TRUE(closed_away());
  EXPECT_THAT(tcx_programs(from.hook, from.ifindex).value(), IsEmpty());

  // Back, with an index that is free: its link has a name again.
  ASSERT_TRUE(run("ip -n kt-away link set kt0 netns " + std::to_string(getpid())));
  const Attachment back{Hook::FromGuest, pair.ifindex(), 0};
  EXPECT_NE(back.ifindex, from.ifindex);
  EXPECT_THAT(attacher.present(first.ids()).value().first, IsEmpty());
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_TRUE(attacher.is_held(back).value()) << "by a guard";
  ASSERT_DONE(attach(attacher, back, first));
  EXPECT_THAT(attacher.present(first.ids()).value().first, UnorderedElementsAre(back));
  ASSERT_DONE(attacher.detach_all());
  EXPECT_TRUE(run("ip link del kt9 && ip netns del kt-away"));
}

// A pin on its way to a name, left by an agent that died: by now that name may be another interface's.
TEST_F(AttachTcx, AMoveThatWasBegunTakesNoNameFromAnotherInterface) {
  Pair other("kt1", 2);
  const Attachment others{Hook::FromGuest, other.ifindex(), 0};
  const std::string links = pin_root() + "/links/";
  ASSERT_DONE(attach(attacher, from, dropping));
  ASSERT_DONE(attach(attacher, others, dropping));
  std::filesystem::rename(links + link_name(from), links + "moving-" + link_name(others));
  ASSERT_TRUE(attacher.adopt(dropping.fds()).ok());
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_FALSE(other.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, others));

  // Where the CNI plugin has put one in front while no agent ran, the agent that starts next ends the one behind.
  const Program guard = guard_for(from.hook);
  Attacher plugin(pin_root(), AttachMode::Tcx);
  std::filesystem::rename(links + link_name(from), links + "from_guest-7777");
  ASSERT_DONE(plugin.attach(from, guard.fd.get(), guard.id));
  ASSERT_EQ(tcx_programs(from.hook, from.ifindex).value().size(), 2U);
  const auto adopted = attacher.adopt(dropping.fds());
  ASSERT_TRUE(adopted.ok()) << adopted.error().message;
  EXPECT_THAT(tcx_programs(from.hook, from.ifindex).value(), UnorderedElementsAre(guard.id));
  EXPECT_FALSE(pair.passes_from_guest());
  ASSERT_DONE(attach(attacher, from, dropping));

  // Nor does a pin's name say which hook its link is on.
  const Attachment to{Hook::ToGuest, pair.ifindex(), 0};
  ASSERT_DONE(attach(attacher, to, dropping));
  std::filesystem::rename(links + link_name(to), links + "from_guest-7777");
  ASSERT_TRUE(attacher.adopt(dropping.fds()).ok());
  EXPECT_THAT(tcx_programs(to.hook, to.ifindex).value(), UnorderedElementsAre(dropping.ids().at(Hook::ToGuest)));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, others, to));
  ASSERT_DONE(attacher.detach_all());
}

TEST_F(AttachTcx, ASecondPinOfALinkGoesAndTheLinkHolds) {
  ASSERT_DONE(attach(attacher, from, dropping));
  const auto links = tcx_links(from.hook, from.ifindex).value();
  const std::string path = pin_root() + "/links/" + link_name(from), second = pin_root() + "/links/from_guest-7777";
  ASSERT_EQ(bpf_obj_pin(open_link(path).get(), second.c_str()), 0);
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));
  EXPECT_EQ(tcx_links(from.hook, from.ifindex).value(), links);
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(second));
  EXPECT_FALSE(pair.passes_from_guest());
  ASSERT_DONE(attacher.detach_all());
}

TEST_F(AttachTcx, ALinkUnderAnotherNameHoldsAndGetsItsOwn) {
  Pair other("kt1", 2);
  const Attachment others{Hook::FromGuest, other.ifindex(), 0};
  const std::string links = pin_root() + "/links/", own = links + link_name(from), taken = links + link_name(others);
  ASSERT_DONE(attach(attacher, from, dropping));

  std::filesystem::rename(own, links + "from_guest-7777");
  ASSERT_DONE(attacher.remove_defunct());  // as the CNI plugin does, with no agent
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_TRUE(std::filesystem::exists(own));

  std::filesystem::rename(own, links + "from_guest-7777");
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from));

  std::filesystem::rename(own, taken);
  ASSERT_DONE(attach(attacher, others, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_FALSE(other.passes_from_guest());

  std::filesystem::rename(own, links + "between");
  std::filesystem::rename(taken, own);
  std::filesystem::rename(links + "between", taken);
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, others));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_FALSE(other.passes_from_guest());

  // Where the CNI plugin has put a link of its own in front meanwhile, the agent's program takes its place.
  const Program guard = guard_for(from.hook);
  Attacher plugin(pin_root(), AttachMode::Tcx);
  std::filesystem::rename(own, links + "from_guest-7777");
  ASSERT_DONE(plugin.attach(from, guard.fd.get(), guard.id));
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, others));

  ASSERT_TRUE(run("ip link del kt0"));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(others));
  EXPECT_FALSE(std::filesystem::exists(own));
  ASSERT_DONE(attacher.detach_all());
  EXPECT_TRUE(other.passes_from_guest());
  EXPECT_TRUE(std::filesystem::is_empty(pin_root() + "/links"));
}

// What the trap is: the kernel takes an egress filter into the ingress chain of an `ingress` qdisc.
TEST(AttachClsact, AnIngressQdiscIsReplaced) {
  Pair pair("kt0");
  Attacher attacher(pin_root(), AttachMode::Clsact);
  const Programs dropping(kDrop);
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0}, to{Hook::ToGuest, pair.ifindex(), 0};
  ASSERT_TRUE(run("tc qdisc add dev kt0 ingress"));
  ASSERT_DONE(attach(attacher, to, dropping));
  EXPECT_FALSE(pair.passes_to_guest());
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(to));
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, UnorderedElementsAre(from, to));
  // Somebody puts it back.
  ASSERT_TRUE(run("tc qdisc del dev kt0 clsact && tc qdisc add dev kt0 ingress"));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  for (const Attachment& each : {from, to}) ASSERT_DONE(attach(attacher, each, dropping));
  EXPECT_FALSE(pair.passes_to_guest());
  EXPECT_FALSE(pair.passes_from_guest());
  ASSERT_DONE(attacher.detach_all());
}

TEST(AttachClsact, AFilterThatKeepsUsFromTheFirstPlaceIsAnError) {
  Pair pair("kt0");
  Attacher attacher(pin_root(), AttachMode::Clsact);
  const Programs dropping(kDrop);
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
  const Program foreign = foreign_program(kAccept);
  const std::string path = pin_root() + "/foreign";
  ASSERT_EQ(bpf_obj_pin(foreign.fd.get(), path.c_str()), 0);
  ASSERT_TRUE(
      run("tc qdisc add dev kt0 clsact && "
          "tc filter add dev kt0 ingress prio 1 protocol ip bpf direct-action object-pinned " +
          path));
  const auto failed = attach(attacher, from, dropping);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("interface " + std::to_string(pair.ifindex()) + " ingress"));
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  ASSERT_DONE(attacher.detach_all());
  std::filesystem::remove(path);
}

// All of tcx runs before all filters.
TEST(AttachClsact, AForeignTcxProgramStandsBeforeAFilter) {
  Pair pair("kt0");
  if (!kernel_has_tcx(pair)) GTEST_SKIP() << "this kernel has no tcx";
  Attacher attacher(pin_root(), AttachMode::Clsact);
  const Programs dropping(kDrop);
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
  ASSERT_DONE(attach(attacher, from, dropping));
  EXPECT_TRUE(attacher.is_held(from).value());
  const Program foreign = foreign_program(kAccept);
  const Intruder intruder(pair, foreign, true);
  ASSERT_TRUE(pair.passes_from_guest()) << "the intruder is not in front, this test shows nothing";
  EXPECT_THAT(attacher.present(dropping.ids()).value().first, IsEmpty());
  EXPECT_FALSE(attacher.is_held(from).value());
  const auto failed = attach(attacher, from, dropping);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("--attach auto"));

  // An agent that may use tcx gets before it, and leaves no filter that would judge a packet twice.
  Attacher newer(pin_root(), AttachMode::Auto);
  ASSERT_TRUE(newer.adopt(dropping.fds()).ok());
  ASSERT_DONE(attach(newer, from, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_THAT(newer.present(dropping.ids()).value().first, UnorderedElementsAre(from));
  EXPECT_THAT(output_of("tc filter show dev kt0 ingress"), Not(HasSubstr("from_guest")));
  ASSERT_DONE(newer.detach_all());
}

TEST(AttachAuto, TakesTcxWhereTheKernelHasIt) {
  Pair pair("kt0");
  const bool has_tcx = kernel_has_tcx(pair);
  Attacher attacher(pin_root(), AttachMode::Auto);
  const Programs dropping(kDrop);
  ASSERT_DONE(attach(attacher, {Hook::FromGuest, pair.ifindex(), 0}, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_EQ(attacher.mechanism(), has_tcx ? "tcx" : "clsact");
  ASSERT_DONE(attacher.detach_all());
}

TEST(AttachAuto, AnInterfaceThatIsNotThereIsAnErrorAndNoReasonToFallBack) {
  Pair pair("kt0");
  Attacher attacher(pin_root(), AttachMode::Auto);
  const Programs dropping(kDrop);
  const auto failed = attach(attacher, {Hook::FromGuest, 4'000'000, 0}, dropping);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("4000000"));
  ASSERT_DONE(attach(attacher, {Hook::FromGuest, pair.ifindex(), 0}, dropping));
  EXPECT_FALSE(pair.passes_from_guest());
  ASSERT_DONE(attacher.detach_all());
}

}  // namespace
}  // namespace grantd::test
