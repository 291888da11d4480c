// What holds the place of a program of ours until it comes.
#include "agent/attach/attacher.h"
#include "agent/attach/clsact.h"
#include "agent/attach/links.h"
#include "tests/kernel/sandbox.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <array>
#include <map>

namespace grantd::test {
namespace {

// A stamp survives decapsulation, so whoever stands in for from_uplink must not leave it.
TEST(Guard, OfAnUplinkTakesTheStampAndNothingElse) {
  const auto guard = load_guard(Hook::FromUplink, 0xff001fff);
  ASSERT_TRUE(guard.ok()) << guard.error().message;
  std::array<unsigned char, 64> frame{};
  __sk_buff context{};
  context.mark = 0xa7f0e123;
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame.data();
  options.data_size_in = frame.size();
  options.ctx_in = options.ctx_out = &context;
  options.ctx_size_in = options.ctx_size_out = sizeof(context);
  ASSERT_EQ(bpf_prog_test_run_opts(guard.value().get(), &options), 0);
  EXPECT_EQ(static_cast<int>(options.retval), -1) << "the next program decides";
  EXPECT_EQ(context.mark, 0x00f0e000U);
}

class Guards : public testing::TestWithParam<AttachMode> {};

INSTANTIATE_TEST_SUITE_P(Kinds, Guards, testing::Values(AttachMode::Tcx, AttachMode::Clsact),
                         [](const auto& info) { return info.param == AttachMode::Tcx ? "tcx" : "clsact"; });

// The record at an index may still be of the interface before: our program would judge a new guest by it.
TEST_P(Guards, AnAgentThatStartsLeavesThemAndReplacesThoseOfTheOneBefore) {
  if (GetParam() == AttachMode::Tcx && !has_tcx()) GTEST_SKIP() << "this kernel has no tcx";
  Pair pair("kt0");
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0}, to{Hook::ToGuest, pair.ifindex(), 0};
  std::map<Hook, Program> passing;
  std::map<Hook, int> fds;
  std::map<Hook, std::uint32_t> ids;
  for (const Hook hook : kGuestHooks) {
    const Program& program = passing.emplace(hook, program_for(hook, kNext)).first->second;
    fds[hook] = program.fd.get();
    ids[hook] = program.id;
  }
  const Program guard = guard_for(from.hook), before = program_for(to.hook, kDrop);
  ASSERT_TRUE(Attacher(pin_root(), GetParam()).attach(from, guard.fd.get(), guard.id).ok());
  ASSERT_TRUE(Attacher(pin_root(), GetParam()).attach(to, before.fd.get(), before.id).ok());

  Attacher attacher(pin_root(), GetParam());
  EXPECT_EQ(attacher.adopt(fds).value(), 1U);
  EXPECT_FALSE(pair.passes_from_guest());
  EXPECT_TRUE(pair.passes_to_guest());
  EXPECT_THAT(attacher.present(ids).value().first, testing::UnorderedElementsAre(to));
  EXPECT_TRUE(attacher.is_held(from).value());
  ASSERT_TRUE(attacher.attach(from, fds[from.hook], ids[from.hook]).ok());
  EXPECT_TRUE(pair.passes_from_guest());
  EXPECT_THAT(attacher.present(ids).value().first, testing::UnorderedElementsAre(from, to));
  ASSERT_TRUE(attacher.detach_all().ok());
}

// As where the agent could not tell the plugin that it has tcx.
TEST(FiltersOfClsact, AGuardThatComesLaterDoesNotStayBehindALink) {
  if (!has_tcx()) GTEST_SKIP() << "this kernel has no tcx";
  Pair pair("kt0");
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
  const Program guard = guard_for(from.hook), program = program_for(from.hook, kNext);
  Attacher attacher(pin_root(), AttachMode::Tcx);
  ASSERT_TRUE(attacher.adopt({{from.hook, program.fd.get()}}).ok());
  ASSERT_TRUE(Attacher(pin_root(), AttachMode::Clsact).attach(from, guard.fd.get(), guard.id).ok());
  EXPECT_FALSE(pair.passes_from_guest());
  ASSERT_TRUE(attacher.attach(from, program.fd.get(), program.id).ok());
  EXPECT_TRUE(pair.passes_from_guest());
  ASSERT_TRUE(attacher.detach_all().ok());
}

// An agent that died while it moved its filter to the front leaves two: each packet would be judged, and charged,
// twice.
TEST(FiltersOfClsact, OfTwoForOneHookOneIsLeft) {
  Pair pair("kt0");
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
  const Program program = program_for(from.hook, kNext);
  const std::map<Hook, std::uint32_t> ids = {{from.hook, program.id}};
  Attacher attacher(pin_root(), AttachMode::Clsact);
  ASSERT_TRUE(attacher.attach(from, program.fd.get(), program.id).ok());
  EXPECT_THAT(attacher.present(ids).value().first, testing::ElementsAre(from)) << "the control";
  LIBBPF_OPTS(bpf_tc_hook, side);
  side.ifindex = static_cast<int>(pair.ifindex());
  side.attach_point = BPF_TC_INGRESS;
  LIBBPF_OPTS(bpf_tc_opts, second);
  second.prog_fd = program.fd.get();
  second.handle = 0x68;
  second.priority = 1;
  ASSERT_EQ(bpf_tc_attach(&side, &second), 0);
  ASSERT_EQ(filters_on(pair.ifindex(), false).value().size(), 2U);
  const Attachments standing = attacher.present(ids).value();
  EXPECT_THAT(standing.first, testing::IsEmpty());
  EXPECT_THAT(standing.behind, testing::ElementsAre(from)) << "the guest is the same one";
  ASSERT_TRUE(attacher.attach(from, program.fd.get(), program.id).ok());
  EXPECT_EQ(filters_on(pair.ifindex(), false).value().size(), 1U);
  EXPECT_THAT(attacher.present(ids).value().first, testing::ElementsAre(from));
  ASSERT_TRUE(attacher.detach_all().ok());
}

// An agent that is told to take clsact, where the plugin has taken tcx: a filter would stand behind the guard.
TEST(GuardOfTcx, GivesItsPlaceToAnAgentThatAttachesByClsact) {
  if (!has_tcx()) GTEST_SKIP() << "this kernel has no tcx";
  Pair pair("kt0");
  const Attachment from{Hook::FromGuest, pair.ifindex(), 0};
  const Program guard = guard_for(from.hook), passing = program_for(from.hook, kNext);
  ASSERT_TRUE(Attacher(pin_root(), AttachMode::Tcx).attach(from, guard.fd.get(), guard.id).ok());
  EXPECT_FALSE(pair.passes_from_guest());
  Attacher attacher(pin_root(), AttachMode::Clsact);
  ASSERT_TRUE(attacher.adopt({{from.hook, passing.fd.get()}}).ok());
  const auto attached = attacher.attach(from, passing.fd.get(), passing.id);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  EXPECT_TRUE(pair.passes_from_guest());
  ASSERT_TRUE(attacher.detach_all().ok());
}

}  // namespace
}  // namespace grantd::test
