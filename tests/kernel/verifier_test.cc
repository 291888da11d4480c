// Every configuration of the programs passes this kernel's verifier, with room to its limit.
#include "agent/apply/program_constants.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace grantd::test {
namespace {

// A tenth of the kernel's limit: room for a kernel to come that walks more of them (docs/assurance.md has today's).
constexpr std::uint32_t kBudget = 100'000;

struct Configuration {
  const char* name;
  bool dry_run;
  std::uint32_t stamp_mask;
};

class Verifier : public testing::TestWithParam<Configuration> {};

TEST_P(Verifier, TakesEveryProgramWithinTheBudget) {
  const auto stamp = stamp_settings(GetParam().stamp_mask);
  ASSERT_TRUE(stamp.ok()) << stamp.error().message;
  const std::unique_ptr<grantd_bpf, void (*)(grantd_bpf*)> skeleton(grantd_bpf__open(), grantd_bpf__destroy);
  ASSERT_NE(skeleton, nullptr);
  skeleton->rodata->dry_run = GetParam().dry_run;
  set_stamp(*skeleton, stamp.value());
  for (auto& number : skeleton->rodata->seal_numbers) number = 0x9e3779b97f4a7c15ULL;
  ASSERT_EQ(grantd_bpf__load(skeleton.get()), 0);
  int programs = 0;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    bpf_prog_info info{};
    __u32 length = sizeof(info);
    ASSERT_EQ(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length), 0);
    const std::string name = bpf_program__name(program);
    EXPECT_GT(info.verified_insns, 0U) << name;
    EXPECT_LE(info.verified_insns, kBudget) << name;
    RecordProperty("verified_insns." + name, static_cast<int>(info.verified_insns));
    programs++;
  }
  EXPECT_GE(programs, 8);
}

INSTANTIATE_TEST_SUITE_P(OfAll, Verifier,
                         testing::Values(Configuration{"Enforcing", false, GRANTD_STAMP_MASK_DEFAULT},
                                         Configuration{"DryRun", true, GRANTD_STAMP_MASK_DEFAULT},
                                         Configuration{"EnforcingOtherMark", false, 0xff3ffe00},
                                         Configuration{"DryRunOtherMark", true, 0xff3ffe00}),
                         [](const testing::TestParamInfo<Configuration>& info) { return info.param.name; });

}  // namespace
}  // namespace grantd::test
