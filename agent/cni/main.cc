// grantd-cni: closes a guest's interface before its first process starts. A runtime calls it; see docs/operations.md.
#include "agent/cni/plugin.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

constexpr std::size_t kMaxInput = 4 << 20;

// Nothing where it is too long or cannot be read: then it is no JSON, which is the error.
std::string read_input() {
  std::string text;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t count = read(STDIN_FILENO, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return "";
    if (count == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(count));
    if (text.size() > kMaxInput) return "";
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) {
    const bool version = count == 2 && std::string(arguments[1]) == "--version";
    (version ? std::cout : std::cerr) << (version ? "grantd-cni " GRANTD_VERSION "\n"
                                                  : "grantd-cni: is called by a container runtime, which tells it by "
                                                    "CNI_COMMAND and standard input what to do\n");
    return version ? 0 : 2;
  }
  libbpf_set_print(nullptr);
  grantd::Environment environment;
  for (const char* name : {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"})
    if (const char* value = std::getenv(name)) environment[name] = value;
  const grantd::PluginOutcome outcome = grantd::run_plugin(environment, read_input());
  std::cout << outcome.output << std::flush;
  return std::cout ? outcome.exit_code : 1;  // a result that nobody was told of is none
}
