// What a fuzzed function must keep to; libFuzzer keeps the input that broke it, and shows from where.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace grantd {

inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace grantd
