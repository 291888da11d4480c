// Where settings stand beside the command line: in the environment, and in the file of settings.
#pragma once

#include <CLI/CLI.hpp>

#include <map>
#include <string>
#include <vector>

namespace grantd {

inline constexpr const char* kConfigFlag = "config";

// What can stand in each of them too: a flag with a name, and none that says what is to be printed.
bool is_setting(const CLI::Option& option);

// GRANTD_PIN_ROOT, of pin-root.
std::string environment_name(const std::string& setting);

// By setting, how whoever set it would call it: --pin-root, GRANTD_PIN_ROOT, or FILE:LINE: pin-root.
using Origins = std::map<std::string, std::string>;

// Gives the command that was called what its command line left open, from the environment, else from the file:
// the one that --config or GRANTD_CONFIG names, else the usual one where there is one. CLI11 can do both by itself,
// but reads the environment for every command, reads files loosely, and never says where a wrong value stands.
// A setting of the file that only other commands know is passed over, unless it is one of `also`, a command whose
// values are looked at too. Throws CLI::ParseError.
Origins fill_in(const CLI::App& app, CLI::App& called, const char* usual_file, CLI::App* also = nullptr);

// Variables that are named like settings, and are none. Those that Kubernetes gives every pod beside a Service of
// grantd's name are left out.
std::vector<std::string> unknown_variables(const CLI::App& app);

}  // namespace grantd
