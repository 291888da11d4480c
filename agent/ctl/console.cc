#include "agent/ctl/console.h"

#include "agent/ctl/commands.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace grantd {
namespace {

int exit_lost(int error_number) {
  complain(system_error("cannot write the answer", error_number));
  return kExitCannot;
}

}  // namespace

bool print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

void complain(const Error& error) { std::fprintf(stderr, "grantctl: %s\n", error.message.c_str()); }

bool output_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

int exit_after(const std::string& text, int code) { return print(text) ? code : exit_lost(errno); }

int exit_unwritten(int error_number) { return error_number == EPIPE ? kExitOk : exit_lost(error_number); }

}  // namespace grantd
