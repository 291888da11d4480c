// What speaks against objects that are good by themselves, once they stand together. Pure.
#pragma once

#include "crd-sync/read_manifests.h"

#include <map>
#include <optional>
#include <vector>

namespace grantd {

inline constexpr const char* kNoSuchRealm = "there is no such Realm, or it is refused";

// One object as it stands for now.
struct Standing {
  // Of two that meet the later of these gives way. A last good version meets one that is unchanged where it could not
  // stand for a while, and the other one came meanwhile.
  enum class Version : std::uint8_t { Unchanged, LastGood, Fresh };
  const ManifestObject* object = nullptr;
  Version version = Version::Unchanged;

  bool fresh() const { return version == Version::Fresh; }  // new or changed
};

using StandingObjects = std::map<ObjectId, Standing>;

struct Conflict {
  Problem problem;
  std::vector<ObjectId> refused;                      // who gives way
  std::optional<ObjectId> because_of = std::nullopt;  // what is not there, and may have been refused itself
};

std::vector<Conflict> realm_conflicts(const StandingObjects& objects);  // identities, prefixes
// Realms with a prefix in a range where nobody is believed: the node's of pods and services.
std::vector<Conflict> protected_conflicts(const StandingObjects& objects, const std::vector<IpPrefix>& ranges);
std::vector<Conflict> grant_conflicts(const StandingObjects& objects);     // Realms that are not there
std::vector<Conflict> workload_conflicts(const StandingObjects& objects);  // interfaces, cgroups, addresses

// Prefixes inside another Realm's: no conflict, the longest wins. One warning for each pair of Realms.
std::vector<Problem> nested_prefixes(const StandingObjects& objects);

// What refused Realms would take out of those that stand, if they were not refused. Not what a Realm that stands has
// itself, by the same prefix, nor what an older version of the refused one holds. As DesiredState::nobodys. One warning
// for each pair.
std::vector<RefusedPrefix> nobodys_prefixes(const StandingObjects& objects, const std::vector<RefusedPrefix>& refused,
                                            std::vector<Problem>& warnings);

// "FILE:LINE", for a message about another object.
std::string place_text(const SourcePosition& position);

}  // namespace grantd
