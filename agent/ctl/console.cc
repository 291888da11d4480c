#include "agent/ctl/console.h"

#include "agent/ctl/commands.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace grantd {

bool print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

void complain(const Error& error) { std::fprintf(stderr, "grantctl: %s\n", error.message.c_str()); }

bool output_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

int exit_after(const std::string& text, int code) {
  if (print(text)) return code;
  complain(system_error("cannot write the answer", errno));
  return kExitCannot;
}

int exit_unwritten(int error_number) {
  if (error_number == EPIPE) return kExitOk;
  complain(system_error("cannot write the answer", error_number));
  return kExitCannot;
}

}  // namespace grantd
