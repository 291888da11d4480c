// Standard output and error of grantctl.
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

// False, with errno, where it cannot be written.
bool print(const std::string& text);
void complain(const Error& error);  // "grantctl: MESSAGE" on standard error
bool output_is_terminal();
// Prints an answer and returns `code`; where it could not be printed, says so: what is lost on its way out is no
// answer.
int exit_after(const std::string& text, int code);
// Of an answer without end that print() could not write on, by its errno: that its reader has gone is an end of it.
int exit_unwritten(int error_number);

}  // namespace grantd
