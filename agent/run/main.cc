#include "agent/attach/kept_links.h"
#include "agent/run/agent.h"
#include "agent/run/check.h"
#include "agent/run/log.h"
#include "agent/run/uninstall.h"
#include "agent/settings/settings.h"

#include <unistd.h>

#include <csignal>
#include <iostream>
#include <new>
#include <string_view>

namespace {

// Whoever goes on with half of what he wanted might open something; whoever starts anew reads what is in force.
void end_without_memory() {
  constexpr std::string_view kSaid = "grantd: out of memory, and ends; what was attached goes on enforcing\n";
  (void)!write(STDERR_FILENO, kSaid.data(), kSaid.size());
  _exit(1);
}

int run(const grantd::Settings& settings, const std::vector<std::string>& warnings) {
  std::signal(SIGPIPE, SIG_IGN);  // who reads the log may go; what it would have told does not end the agent
  grantd::open_log(settings.log_format, settings.log_level);
  for (const std::string& each : warnings) grantd::log_warning(each);
  if (auto allowed = grantd::allow_many_descriptors(); !allowed) grantd::log_warning(allowed.error().message);
  auto agent = grantd::Agent::start(settings);
  if (!agent) {
    grantd::log_error("cannot start; what was attached goes on enforcing", {{"error", agent.error().message}});
    return 1;
  }
  const auto done = agent.value()->run();
  const auto left = agent.value()->leave();
  if (!done) grantd::log_error("stops; what is attached goes on enforcing", {{"error", done.error().message}});
  if (!left) grantd::log_error("not all that is attached goes on", {{"error", left.error().message}});
  return done && left ? 0 : 1;
}

int remove_all(const grantd::Settings& settings) {
  auto done = grantd::uninstall(settings);
  if (!done) {
    std::cerr << "grantd uninstall: " << done.error().message << '\n';
    return 1;
  }
  std::cout << "grantd is removed; guests are open\n";
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  std::set_new_handler(end_without_memory);
  const grantd::ParsedSettings parsed = grantd::parse_settings(count, arguments);
  if (parsed.exit_code >= 0) return parsed.exit_code;
  if (parsed.settings.command != grantd::Settings::Command::Run)
    for (const std::string& each : parsed.warnings) std::cerr << "grantd: warning: " << each << '\n';
  switch (parsed.settings.command) {
    case grantd::Settings::Command::Check: {
      const int code = grantd::check(parsed.settings, std::cout, std::cerr);
      if (std::cout.flush()) return code;
      std::cerr << "grantd check: cannot write the answer to standard output\n";
      return 1;
    }
    case grantd::Settings::Command::Uninstall:
      return remove_all(parsed.settings);
    case grantd::Settings::Command::Run:
      break;
  }
  return run(parsed.settings, parsed.warnings);
}
