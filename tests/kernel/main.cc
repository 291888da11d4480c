#include "tests/kernel/sandbox.h"

#include <bpf/libbpf.h>
#include <gtest/gtest.h>

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (!GTEST_FLAG_GET(list_tests)) grantd::test::enter_sandbox();
  libbpf_set_print(nullptr);  // of what it tells, everything comes back as an error too
  return RUN_ALL_TESTS();
}
