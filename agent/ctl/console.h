// Standard output and error of grantctl.
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

// False where the reader has gone.
bool print(const std::string& text);
void complain(const Error& error);  // "grantctl: MESSAGE" on standard error
bool output_is_terminal();

}  // namespace grantd
