#include "agent/attach/kept_links.h"
#include "tests/kernel/sandbox.h"

#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <cstdio>

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (!GTEST_FLAG_GET(list_tests)) grantd::test::enter_sandbox();
  // As the agent does: where a process may have few, no link outlives its pin.
  if (const auto allowed = grantd::allow_many_descriptors(); !allowed)
    std::fprintf(stderr, "%s\n", allowed.error().message.c_str());
  libbpf_set_print(nullptr);  // of what it tells, everything comes back as an error too
  return RUN_ALL_TESTS();
}
