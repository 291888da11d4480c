// The file of settings, for CLI11: keys are the flags' names, without sections, for all commands alike.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace grantd {

// Hands the entries of the file to the command that was called. An entry that only another command
// knows is none of its business; one that no command knows, and a section, are errors. What the environment
// gives stands over the file.
class SettingsFile : public CLI::ConfigTOML {
 public:
  explicit SettingsFile(const CLI::App& app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  const CLI::App& app_;
};

}  // namespace grantd
