// Whose programs are pinned, as grantctl verify judges it.
#include "agent/ctl/verify/program_differences.h"

#include "agent/attach/attacher.h"
#include "agent/ctl/explain/second_instance.h"
#include "tests/kernel/private_node.h"

#include <bpf/bpf.h>
#include <grantd.skel.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace grantd {
namespace {

class ProgramDifferences : public testing::Test {
 protected:
  static std::vector<std::string> told(std::uint32_t mask = GRANTD_STAMP_MASK_DEFAULT) {
    auto told = program_differences(node().pin_root(), stamp_settings(mask).value());
    if (told) {
      EXPECT_TRUE(told.value().constants_compared);
      return std::move(told).value().wrong;
    }
    ADD_FAILURE() << told.error().message;
    return {};
  }
  // One for all of them, and gone before other tests look for what stands here.
  static void SetUpTestSuite() { node_ = std::make_unique<PrivateNode>(); }
  static void TearDownTestSuite() { node_.reset(); }
  static PrivateNode& node() { return *node_; }
  static std::string path() { return program_pin(node().pin_root(), hook_name(Hook::ToGuest)); }
  // In the place of to_guest, and taken away again.
  static std::vector<std::string> told_with(int program) {
    EXPECT_EQ(unlink(path().c_str()), 0);
    EXPECT_EQ(bpf_obj_pin(program, path().c_str()), 0) << errno;
    std::vector<std::string> lines = told();
    EXPECT_EQ(node().datapath().mend_pins().value(), 1U);
    return lines;
  }
  static void expect_one(const std::vector<std::string>& lines, const std::string& what) {
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0].find(path() + ": " + what), 0U) << lines[0];
  }
  void TearDown() override { EXPECT_EQ(told(), std::vector<std::string>()); }  // each test puts back what was

 private:
  static inline std::unique_ptr<PrivateNode> node_;
};

TEST_F(ProgramDifferences, NoneOfWhatTheAgentLoaded) { EXPECT_EQ(told(), std::vector<std::string>()); }

TEST_F(ProgramDifferences, OfOneThatPassesEverything) {
  const bpf_insn accepts[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -1},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const Descriptor program(
      bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "to_guest", "GPL", accepts, std::size(accepts), nullptr));
  ASSERT_TRUE(program.valid());
  expect_one(told_with(program.get()), "its instructions are not this grantctl's");
}

TEST_F(ProgramDifferences, OfOurOwnThatLeavesNothingBehind) {
  const auto instance =
      load_second_instance(node().pin_root(), stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value(), Instance::DryRun);
  ASSERT_TRUE(instance.ok());
  expect_one(told_with(bpf_program__fd(instance.value()->progs.to_guest)), "its constants");
}

TEST_F(ProgramDifferences, OfOurOwnOnMapsOfAnotherNode) {
  PrivateNode other;
  const auto instance =
      load_second_instance(other.pin_root(), stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value(), Instance::AsAttached);
  ASSERT_TRUE(instance.ok());
  expect_one(told_with(bpf_program__fd(instance.value()->progs.to_guest)), "it works on other maps");
}

TEST_F(ProgramDifferences, OfAnotherStamp) { EXPECT_EQ(told(0x0fffff00).size(), std::size(kHooks)); }

}  // namespace
}  // namespace grantd
