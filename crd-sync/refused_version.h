// What counts of a version that is refused: that a Grant ends, that a guest is there, and that addresses are none of
// the wider Realm's. It opens nothing.
#pragma once

#include "crd-sync/resources.h"
#include "crd-sync/yaml_tree.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// How a version of a Grant says that it ends.
struct LegibleEnd {
  bool revoked = false;
  std::optional<std::chrono::seconds> notice;  // of the revocation; nothing where it cannot be told
  std::optional<WallTime> until;
  bool operator==(const LegibleEnd&) const = default;
};

LegibleEnd legible_end(const YamlNode& root);  // of an object, whatever is wrong with it; of what is there twice all
LegibleEnd end_of(const Grant& grant);
LegibleEnd earliest(const LegibleEnd& one, const LegibleEnd& other);

// What of `said` makes `grant` end sooner. One that was not revoked ends at once, without notice: its guests are under
// what was in force, which cannot be parted from what the refused version might have meant.
std::optional<LegibleEnd> sooner_end(const LegibleEnd& said, const Grant& grant);

// The text of an object (ManifestObject::text) that ends so.
std::string text_with_end(const std::string& text, const LegibleEnd& end);

// The guest of a Workload that is refused: its name and its interface, in quarantine.
Workload closed_guest(const std::string& name, const std::string& interface, int interface_line,
                      const SourcePosition& position, Problem why);

struct LegibleInterface {
  std::string name;
  int line = 0;
};

// Those that an object names, whatever is wrong with it, and that may be a guest's.
std::vector<LegibleInterface> legible_interfaces(const YamlNode& root);

// What a Realm names that is good by itself. `object`: Problem::object.
void add_prefixes(const Realm& realm, const std::string& object, std::vector<RefusedPrefix>& all);

struct LegibleAddresses {
  std::vector<std::pair<IpPrefix, int>> prefixes;  // and their lines
  std::vector<int> unread;                         // lines of what stands for an address and is none
  bool of_several = false;                         // two objects have run into each other: nobody knows whose they are
};

// Those of a Realm, whatever is wrong with it; none where no `kind` says Realm. One with host bits is both the address
// and the prefix around it.
LegibleAddresses legible_addresses(const YamlNode& root);

}  // namespace grantd
