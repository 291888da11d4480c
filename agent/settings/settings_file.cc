#include "agent/settings/settings_file.h"

#include <cstdlib>
#include <set>

namespace grantd {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw CLI::ConfigError("file of settings: " + what, CLI::ExitCodes::ConfigError);
}

const CLI::Option* option_of(const CLI::App& command, const std::string& name) {
  const CLI::Option* option = command.get_option_no_throw("--" + name);
  return option && option->get_configurable() ? option : nullptr;
}

bool in_environment(const CLI::Option& option) {
  const char* value = option.get_envname().empty() ? nullptr : std::getenv(option.get_envname().c_str());
  return value && *value;
}

}  // namespace

std::vector<CLI::ConfigItem> SettingsFile::from_config(std::istream& input) const {
  const CLI::App* called = nullptr;
  for (const CLI::App* each : app_.get_subcommands({}))
    if (each->parsed()) called = each;
  std::vector<CLI::ConfigItem> items;
  std::set<std::string> seen;
  for (CLI::ConfigItem& item : CLI::ConfigTOML::from_config(input)) {
    if (!item.parents.empty()) refuse("section '" + item.parents.front() + "': accepted: entries without sections");
    bool known = false;
    for (const CLI::App* each : app_.get_subcommands({})) known = known || option_of(*each, item.name);
    if (!known) refuse("no setting is named '" + item.name + "'; accepted: the names of flags, without --");
    if (!seen.insert(item.name).second) refuse("'" + item.name + "' is there twice; accepted: one entry, or a list");
    const CLI::Option* option = called ? option_of(*called, item.name) : nullptr;
    if (!option || in_environment(*option)) continue;
    item.parents = {called->get_name()};
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace grantd
