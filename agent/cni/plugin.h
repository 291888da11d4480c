// The commands of the plugin. Works in the network namespace of the caller, which is the host's.
#pragma once

#include "agent/cni/request.h"

#include <string>
#include <string_view>

namespace grantd {

struct PluginOutcome {
  int exit_code = 0;   // 0 or 1
  std::string output;  // for standard output: a result, an error, or nothing
};

PluginOutcome run_plugin(const Environment& environment, std::string_view input);

}  // namespace grantd
