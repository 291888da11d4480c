// The layouts of the stamp since the node booted. Packets that it holds bear stamps of one before, and while programs
// are replaced one by one, some still stamp so.
#pragma once

#include "maps/result.h"
#include "maps/stamp_settings.h"

#include <string>

namespace grantd {

// Notes a layout in the pin root, before any program has it. An error where stamps of one before, or of programs that
// still have that one, may be mistaken; then nothing is noted.
Result<void> note_stamp(const std::string& pin_root, const StampSettings& stamp);

}  // namespace grantd
