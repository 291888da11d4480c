// Layouts of the stamp that were in force before.
#include "agent/apply/past_stamps.h"
#include "agent/attach/pin_root.h"
#include "maps/abi/tables.h"
#include "maps/kernel/datapath_maps.h"
#include "maps/kernel/typed_map.h"
#include "tests/kernel/sandbox.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace grantd::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint32_t kShifted = 0xff003ffe, kFewBits = 0x01003ffe;

class PastStamps : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(make_pin_root(root_).ok()); }
  void TearDown() override { fs::remove_all(root_); }

  Result<void> note(std::uint32_t mask) const { return note_stamp(root_, stamp_settings(mask).value()); }
  std::size_t noted() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(root_ + "/stamps"), fs::directory_iterator()));
  }
  void refuses(std::uint32_t mask, std::uint32_t because_of) const {
    const std::size_t before = noted();
    const auto refused = note(mask);
    ASSERT_FALSE(refused) << hexadecimal(mask);
    EXPECT_THAT(refused.error().message, AllOf(HasSubstr("stamp mask " + hexadecimal(mask)),
                                               HasSubstr("mask " + hexadecimal(because_of)), HasSubstr("accepted: ")));
    EXPECT_EQ(noted(), before);
  }

  const std::string root_ = pin_root() + "/stamped";
};

TEST_F(PastStamps, AreNotForgottenBehindOthers) {
  EXPECT_TRUE(note(kFewBits).ok()) << "where there was none before";
  EXPECT_TRUE(note(kFewBits).ok());
  EXPECT_EQ(noted(), 1U);
  EXPECT_TRUE(note(kShifted).ok()) << "the identity is in the same place";
  EXPECT_TRUE(note(0xff007ffc).ok()) << "a third";
  refuses(GRANTD_STAMP_MASK_DEFAULT, kFewBits);
  EXPECT_TRUE(note(kShifted).ok());
  EXPECT_EQ(noted(), 3U);
}

TEST_F(PastStamps, OfAnAgentThatNotedNoneStandInItsRecord) {
  Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "grantd_node", 4, sizeof(grantd_node), 1, nullptr));
  const std::string pin = map_pin(root_, "grantd_node");
  ASSERT_EQ(bpf_obj_pin(map.get(), pin.c_str()), 0);
  EXPECT_TRUE(note(GRANTD_STAMP_MASK_DEFAULT).ok()) << "nothing is written there yet";
  EXPECT_EQ(noted(), 1U);
  const auto record = TypedMap<__u32, grantd_node>::open_pinned(pin, "grantd_node");
  ASSERT_TRUE(record.ok());
  grantd_node node{};
  node.stamp_mask = kShifted;
  ASSERT_TRUE(record.value().put(0, node).ok());
  refuses(GRANTD_STAMP_MASK_DEFAULT, kShifted);  // its tag was that of the default's place
  EXPECT_TRUE(note(kShifted).ok());
  EXPECT_EQ(noted(), 3U) << "the default's, that with the old tag and that with its own";
}

TEST_F(PastStamps, ThatCannotBeReadOrNotedAreAnError) {
  fs::remove_all(root_ + "/stamps");
  EXPECT_THAT(note(kShifted).error().message, HasSubstr(root_ + "/stamps"));
}

}  // namespace
}  // namespace grantd::test
