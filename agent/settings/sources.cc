#include "agent/settings/sources.h"

#include "agent/settings/settings_file.h"

#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace grantd {

namespace {

constexpr const char* kPrefix = "GRANTD_";

std::optional<std::string> in_environment(const std::string& setting) {
  const char* value = std::getenv(environment_name(setting).c_str());
  return value ? std::optional<std::string>(value) : std::nullopt;
}

const CLI::Option* setting_of(const CLI::App& command, const std::string& name) {
  const CLI::Option* option = command.get_option_no_throw("--" + name);
  return option && is_setting(*option) ? option : nullptr;
}

bool is_of_any(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({}))
    if (setting_of(*command, name)) return true;
  return false;
}

void give(CLI::Option& option, const std::vector<std::string>& values, const std::string& origin) {
  if (values.size() > 1 && option.get_items_expected_max() == 1)
    throw CLI::ValidationError(origin, "a list of " + std::to_string(values.size()) + "; accepted: one value");
  try {
    option.add_result(values);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    const std::string what = error.what(), flag = option.get_name() + ": ";
    throw CLI::ValidationError(origin, what.starts_with(flag) ? what.substr(flag.size()) : what);
  }
}

// What is wrong within the file needs no word about who named it.
std::vector<FileEntry> entries_of(const std::string& path, const std::string& named_by) {
  auto entries = read_settings_file(path);
  if (!entries && !named_by.empty() && entries.error().error_number != 0)
    throw CLI::FileError(named_by + ": " + entries.error().message);
  if (!entries) throw CLI::FileError(entries.error().message);
  return std::move(entries).value();
}

std::vector<FileEntry> file_entries(const CLI::App& app, const char* usual_file) {
  const CLI::Option* flag = app.get_option(std::string("--") + kConfigFlag);
  if (flag->count() > 0) return entries_of(flag->as<std::string>(), flag->get_name());
  if (const auto named = in_environment(kConfigFlag)) return entries_of(*named, environment_name(kConfigFlag));
  std::error_code failed;
  const bool missing = std::filesystem::status(usual_file, failed).type() == std::filesystem::file_type::not_found;
  return missing ? std::vector<FileEntry>() : entries_of(usual_file, "");
}

// GRANTD_SERVICE_HOST, GRANTD_PORT_9786_TCP_ADDR; GRANTD_METRICS_PORT of a Service grantd-metrics. No setting has
// such a name.
bool is_of_a_service(const std::string& name) {
  return std::getenv("KUBERNETES_SERVICE_HOST") &&
         (name.ends_with("_SERVICE_HOST") || name.find("_PORT") != std::string::npos);
}

}  // namespace

bool is_setting(const CLI::Option& option) { return option.get_configurable() && !option.get_lnames().empty(); }

std::string environment_name(const std::string& setting) {
  std::string name = kPrefix;
  for (const char letter : setting) name += letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
  return name;
}

Origins fill_in(const CLI::App& app, CLI::App& called, const char* usual_file, CLI::App* also) {
  Origins origins;
  for (CLI::Option* option : called.get_options({})) {
    if (!is_setting(*option)) continue;
    const std::string name = option->get_lnames().front();
    if (option->count() > 0)
      origins[name] = option->get_name();
    else if (const auto value = in_environment(name))
      give(*option, {*value}, origins[name] = environment_name(name));
  }
  for (const FileEntry& entry : file_entries(app, usual_file)) {
    if (!is_of_any(app, entry.name))
      throw CLI::ValidationError(entry.origin,
                                 "no setting is named '" + entry.name + "'; accepted: the names of flags, without --");
    CLI::Option* option = called.get_option_no_throw("--" + entry.name);
    if (!option && also) option = also->get_option_no_throw("--" + entry.name);
    if (option && !origins.contains(entry.name))
      give(*option, entry.values, origins[entry.name] = entry.origin + ": " + entry.name);
  }
  return origins;
}

std::vector<std::string> unknown_variables(const CLI::App& app) {
  std::vector<std::string> unknown;
  for (char** each = environ; each && *each; ++each) {
    const std::string name = std::string(*each).substr(0, std::string(*each).find('='));
    if (!name.starts_with(kPrefix) || is_of_a_service(name) || name == environment_name(kConfigFlag)) continue;
    bool known = false;
    for (const CLI::App* command : app.get_subcommands({}))
      for (const CLI::Option* option : command->get_options({}))
        known = known || (is_setting(*option) && environment_name(option->get_lnames().front()) == name);
    if (!known) unknown.push_back(name);
  }
  return unknown;
}

}  // namespace grantd
