// Whether the programs that are pinned are those that this build's agent loads. Changes nothing.
#pragma once

#include "maps/result.h"
#include "maps/stamp_settings.h"

#include <string>
#include <vector>

namespace grantd {

struct ProgramDifferences {
  // One line for each program whose instructions, maps or constants are others; empty where none are. Another version's
  // are others too.
  std::vector<std::string> wrong;
  bool constants_compared = true;  // false: this process may not open a program's own maps, which takes CAP_SYS_ADMIN
};

Result<ProgramDifferences> program_differences(const std::string& pin_root, const StampSettings& stamp);

}  // namespace grantd
