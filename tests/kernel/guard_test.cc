// What holds the place of a program of ours until it comes.
#include "agent/attach/links.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <array>

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

}  // namespace
}  // namespace grantd::test
