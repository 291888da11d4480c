// From the runtime's own network configuration to the same with grantd-cni behind it. Pure.
#pragma once

#include "agent/cni/plugin_settings.h"
#include "crd-sync/resources.h"
#include "maps/result.h"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

// Sorts before what runtimes and network plugins call theirs, so that it is the one that counts.
inline constexpr const char* kChainFile = "00-grantd.conflist";

// What is in a configuration directory: names, and the text or why it cannot be read.
using ConfFiles = std::map<std::string, Result<std::string>>;

struct Chain {
  std::string from;               // the file that it is made of; "" where there is none
  std::string text;               // what our file must say; "" where nothing can be made
  bool overtaken = false;         // a file of the runtime's sorts before ours
  std::set<std::string> invalid;  // files that were passed over
  std::vector<Problem> problems;  // with the files' names alone
};

// Takes, as libcni does, the first file by name that is valid; ours, by its name or its mark, is none of them. A file
// that is not valid is told and passed over: it may be half-written.
Chain make_chain(const ConfFiles& files, const PluginSettings& settings);

// Whether a text bears our mark.
bool is_our_chain(std::string_view text);

// Whether libcni would look at a file of that name.
bool is_conf_name(std::string_view name);

}  // namespace grantd
