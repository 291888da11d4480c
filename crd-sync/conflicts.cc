#include "crd-sync/conflicts.h"

#include "crd-sync/element_path.h"
#include "crd-sync/problem.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace grantd {
namespace {

// One value of one object that nobody else may have.
struct Claim {
  const Standing* owner;
  SourcePosition position;
  std::string field;
  std::string value;
};

const ObjectId& id_of(const Claim& claim) { return claim.owner->object->id; }

// Of two that are alike both give way.
Conflict conflict_between(const Claim& first, const Claim& second, const std::string& what) {
  Conflict conflict;
  const bool alike = first.owner->version == second.owner->version;
  const Claim& told = second.owner->version >= first.owner->version ? second : first;
  const Claim& other = &told == &second ? first : second;
  conflict.refused.push_back(id_of(told));
  if (alike) conflict.refused.push_back(id_of(other));
  conflict.problem = {
      Severity::Error,
      told.position,
      id_of(told).text(),
      told.field,
      escape_text(told.value),
      "is also " + id_of(other).text() + "'s, " + place_text(other.position) + (alike ? "; both are refused" : ""),
      what};
  return conflict;
}

// Values that may be claimed once.
class Claims {
 public:
  explicit Claims(std::string what) : what_(std::move(what)) {}

  void add(Claim claim, std::vector<Conflict>& conflicts) {
    const auto [first, unclaimed] = claims_.try_emplace(claim.value, claim);
    if (!unclaimed && id_of(first->second) != id_of(claim))
      conflicts.push_back(conflict_between(first->second, claim, what_));
  }

 private:
  std::string what_;
  std::map<std::string, Claim> claims_;
};

std::string address_field(std::size_t index) { return element_path("spec.addresses", index); }

// Calls back with each object of the type.
template <typename Resource, typename Callback>
void each(const StandingObjects& objects, Callback callback) {
  for (const auto& [id, standing] : objects)
    if (const auto* value = std::get_if<Resource>(&standing.object->value)) callback(standing, *value);
}

struct PrefixClaim {
  IpPrefix prefix;
  const Standing* owner;
  const Realm* realm;
  std::size_t index;

  Claim claim() const { return {owner, realm->addresses[index].position, address_field(index), prefix.text()}; }
};

// Sorted so that a prefix stands right before those inside it.
std::vector<PrefixClaim> sorted_prefixes(const StandingObjects& objects) {
  std::vector<PrefixClaim> all;
  each<Realm>(objects, [&all](const Standing& standing, const Realm& realm) {
    for (std::size_t index = 0; index < realm.addresses.size(); ++index)
      all.push_back({realm.addresses[index].prefix, &standing, &realm, index});
  });
  std::stable_sort(all.begin(), all.end(),
                   [](const PrefixClaim& a, const PrefixClaim& b) { return a.prefix < b.prefix; });
  return all;
}

// What is set apart, in as few prefixes as there can be: they take of the node's room.
class Holes {
 public:
  explicit Holes(const std::vector<PrefixClaim>& standing) {
    for (const PrefixClaim& each : standing) standing_.insert(each.prefix);
  }

  // Two halves become one, unless that is somebody's own.
  void add(RefusedPrefix hole) {
    while (hole.prefix.length > 0) {
      const IpPrefix wider = IpPrefix::around(hole.prefix.address, hole.prefix.length - 1);
      const auto other = holes_.find(other_half(hole.prefix));
      if (other == holes_.end() || standing_.contains(wider)) break;
      holes_.erase(other);
      hole.prefix = wider;
    }
    holes_.insert_or_assign(hole.prefix, hole);
  }

  std::vector<RefusedPrefix> all() const {
    std::vector<RefusedPrefix> sorted;
    for (const auto& [prefix, hole] : holes_) sorted.push_back(hole);
    return sorted;
  }

 private:
  // Of the prefix that is one bit wider.
  static IpPrefix other_half(IpPrefix prefix) {
    const auto bit = static_cast<std::size_t>(prefix.length - 1);
    std::uint8_t& byte = prefix.address.bytes[bit / 8];
    byte = static_cast<std::uint8_t>(byte ^ (0x80U >> (bit % 8)));
    return prefix;
  }

  std::set<IpPrefix> standing_;
  std::map<IpPrefix, RefusedPrefix> holes_;
};

// The first Realm that a Grant names and that is not there, and in `claim` where; "" for none.
std::string names_unknown_realm(const Grant& grant, const std::set<std::string>& realms, Claim& claim) {
  const auto unknown = [&](std::string field, const std::string& name, const std::string& written,
                           const SourcePosition& position) {
    if (realms.contains(name)) return false;
    claim.field = std::move(field);
    claim.value = written;
    claim.position = position;
    return true;
  };
  if (unknown("spec.grantorRealm", grant.grantor_realm, grant.grantor_realm,
              place_of_field(grant.position, grant.grantor_line)))
    return grant.grantor_realm;
  if (unknown("spec.granteeRealm", grant.grantee_realm, grant.grantee_realm,
              place_of_field(grant.position, grant.grantee_line)))
    return grant.grantee_realm;
  if (!grant.egress_allowed) return "";
  for (std::size_t index = 0; index < grant.destinations.size(); ++index) {
    const Destination& destination = grant.destinations[index];
    if (destination.kind == Destination::Kind::Realm &&
        unknown(element_path("spec.networkPolicy.allowedDestinations", index), destination.name, destination.text,
                destination.position))
      return destination.name;
  }
  return "";
}

}  // namespace

std::string place_text(const SourcePosition& position) {
  return position.file.text() + (position.line > 0 ? ":" + std::to_string(position.line) : "");
}

std::vector<Conflict> realm_conflicts(const StandingObjects& objects) {
  std::vector<Conflict> conflicts;
  Claims identities("an identity that no other Realm has");
  each<Realm>(objects, [&](const Standing& standing, const Realm& realm) {
    identities.add({&standing, place_of_field(realm.position, realm.identity_line), "spec.identity", realm.identity},
                   conflicts);
  });
  const auto prefixes = sorted_prefixes(objects);
  for (std::size_t index = 1; index < prefixes.size(); ++index) {
    const PrefixClaim &before = prefixes[index - 1], &here = prefixes[index];
    if (before.prefix == here.prefix && before.realm != here.realm)
      conflicts.push_back(conflict_between(before.claim(), here.claim(), "a prefix that no other Realm has"));
  }
  return conflicts;
}

std::vector<Conflict> protected_conflicts(const StandingObjects& objects, const std::vector<IpPrefix>& ranges) {
  std::vector<Conflict> conflicts;
  each<Realm>(objects, [&](const Standing& standing, const Realm& realm) {
    for (std::size_t index = 0; index < realm.addresses.size(); ++index) {
      const RealmAddress& address = realm.addresses[index];
      const auto range = std::find_if(ranges.begin(), ranges.end(),
                                      [&](const IpPrefix& range) { return range.overlaps(address.prefix); });
      if (range == ranges.end()) continue;
      conflicts.push_back(
          {{Severity::Error, address.position, standing.object->id.text(), address_field(index), address.prefix.text(),
            "overlaps the protected range " + range->text() + " of this node; nobody is believed there",
            "a prefix outside of the pod and service ranges"},
           {standing.object->id}});
    }
  });
  return conflicts;
}

std::vector<Conflict> grant_conflicts(const StandingObjects& objects) {
  std::vector<Conflict> conflicts;
  std::set<std::string> realms;
  each<Realm>(objects, [&realms](const Standing&, const Realm& realm) { realms.insert(realm.name); });
  each<Grant>(objects, [&](const Standing& standing, const Grant& grant) {
    Claim claim{&standing, {}, "", ""};
    const std::string missing = names_unknown_realm(grant, realms, claim);
    if (missing.empty()) return;
    conflicts.push_back({{Severity::Error, claim.position, id_of(claim).text(), claim.field, escape_text(claim.value),
                          kNoSuchRealm, "the name of a Realm"},
                         {id_of(claim)},
                         ObjectId{ResourceKind::Realm, missing}});
  });
  return conflicts;
}

std::vector<Conflict> workload_conflicts(const StandingObjects& objects) {
  std::vector<Conflict> conflicts;
  Claims interfaces("an interface that no other Workload has"), cgroups("a cgroup that no other Workload has"),
      addresses("addresses that no other Workload has");
  each<Workload>(objects, [&](const Standing& standing, const Workload& workload) {
    const auto claim = [&](Claims& claims, std::string field, std::string value, int line) {
      if (!value.empty())
        claims.add({&standing, place_of_field(workload.position, line), std::move(field), std::move(value)}, conflicts);
    };
    claim(interfaces, "spec.interface", workload.interface, workload.interface_line);
    claim(cgroups, "spec.cgroup", workload.cgroup, workload.cgroup_line);
    // Link-local addresses are of one link only; guests on the host network share the host's.
    if (workload.interface.empty()) return;
    for (std::size_t index = 0; index < workload.addresses.size(); ++index)
      if (!workload.addresses[index].is_link_local())
        claim(addresses, address_field(index), workload.addresses[index].text(),
              index < workload.address_lines.size() ? workload.address_lines[index] : 0);
  });
  return conflicts;
}

std::vector<Problem> nested_prefixes(const StandingObjects& objects) {
  std::set<std::pair<const Realm*, const Realm*>> seen;  // inner, outer
  std::vector<Problem> warnings;
  std::vector<PrefixClaim> around;  // from the widest to the narrowest
  for (const PrefixClaim& here : sorted_prefixes(objects)) {
    while (!around.empty() && !around.back().prefix.contains(here.prefix)) around.pop_back();
    const Realm* outside = around.empty() ? here.realm : around.back().realm;
    if (outside != here.realm && seen.insert({here.realm, outside}).second) {
      const Claim inner = here.claim(), outer = around.back().claim();
      warnings.push_back({Severity::Warning, inner.position, id_of(inner).text(), inner.field, inner.value,
                          "lies inside " + outer.value + " of " + id_of(outer).text() + ", " +
                              place_text(outer.position) + "; the longest prefix wins",
                          ""});
      warnings.back().also = id_of(outer).text();
    }
    around.push_back(here);
  }
  return warnings;
}

std::vector<RefusedPrefix> nobodys_prefixes(const StandingObjects& objects, const std::vector<RefusedPrefix>& refused,
                                            std::vector<Problem>& warnings) {
  std::vector<const RefusedPrefix*> sorted;
  for (const RefusedPrefix& each : refused) sorted.push_back(&each);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->prefix < b->prefix; });
  const auto standing = sorted_prefixes(objects);
  auto next = standing.begin();
  std::vector<PrefixClaim> around;  // from the widest to the narrowest
  std::vector<IpPrefix> holes;      // the same
  Holes nobodys(standing);
  std::set<std::pair<std::string, const Realm*>> seen;  // refused, outside
  for (const RefusedPrefix* here : sorted) {
    for (; next != standing.end() && next->prefix <= here->prefix; ++next) {
      while (!around.empty() && !around.back().prefix.contains(next->prefix)) around.pop_back();
      around.push_back(*next);
    }
    while (!around.empty() && !around.back().prefix.contains(here->prefix)) around.pop_back();
    if (around.empty()) continue;
    const PrefixClaim& outside = around.back();
    if (outside.prefix == here->prefix || outside.realm->name == here->realm) continue;
    // What lies in another hole needs none, unless something that stands lies between.
    while (!holes.empty() && !holes.back().contains(here->prefix)) holes.pop_back();
    if (holes.empty() || holes.back().contains(outside.prefix)) {
      holes.push_back(here->prefix);
      nobodys.add(*here);
    }
    if (!seen.insert({here->object, outside.realm}).second) continue;
    const Claim outer = outside.claim();
    warnings.push_back({Severity::Warning, here->position, here->object, "spec.addresses", here->prefix.text(),
                        "is nobody's while this Realm is refused, and lies inside " + outer.value + " of " +
                            id_of(outer).text() + ", " + place_text(outer.position),
                        ""});
    warnings.back().also = id_of(outer).text();
  }
  return nobodys.all();
}

}  // namespace grantd
