#include "agent/plan/encode.h"
#include "agent/plan/planner.h"

#include <algorithm>

namespace grantd {

namespace {

bool contains(const PrefixKey& wide, const PrefixKey& narrow) {
  return wide.uplink_class == narrow.uplink_class && wide.prefix.contains(narrow.prefix);
}

}  // namespace

// What somebody loses becomes nobody's before the policies are published, what somebody gains
// becomes theirs after (decision 12). So no address is ever believed under a policy that was made
// for another owner. Where there are too many, what is lost is lost all the same,
// and nothing is gained; entries are added for what is lost to the node itself alone.
//
// That somebody loses is seen once: afterwards the prefix is nobody's. Such an entry goes last, when all publications
// that put flows in doubt are done, or their slots closed: one that is found was left by a plan that did not come to
// its end, and nobody knows any more who lost it. Who loses some has another number afterwards, also for what they
// keep, in the same moment as what is gained.
void Planner::plan_prefixes() {
  const bool refused = wanted_.prefixes_refused;
  std::map<PrefixKey, std::uint32_t> wanted;
  for (const CompiledPrefix& each : wanted_.prefixes)
    wanted[{each.uplink_class, each.prefix}] = number_of(each.identity);

  // All of them are lost with their map, and with them who has lost some meanwhile. Where the new ones are refused, one
  // stands there as nobody's, so that this is seen once, and again when they come.
  if (kernel_.prefixes.empty() && !wanted.empty() && !kernel_.published.empty()) {
    unsettled_ = true;
    for (const auto& [number, name] : kernel_.identity_names)
      if (name.kind == IdentityName::Kind::Realm || name.kind == IdentityName::Kind::Grant) losers_.insert(number);
    if (refused)
      add(Open, kLossesSubject, operation::PutPrefixes{{{wanted.begin()->first, GRANTD_IDENTITY_NOBODY}}},
          After::Doubt);
  }

  std::vector<std::pair<PrefixKey, std::uint32_t>> close, open;
  std::vector<PrefixKey> remove;
  // Both are sorted so that what contains a prefix comes before it; `around` holds the prefixes in
  // force that contain the current one.
  std::vector<std::pair<PrefixKey, std::uint32_t>> around;
  auto have_at = kernel_.prefixes.begin();
  auto want_at = wanted.begin();
  while (have_at != kernel_.prefixes.end() || want_at != wanted.end()) {
    const bool have =
        have_at != kernel_.prefixes.end() && (want_at == wanted.end() || have_at->first <= want_at->first);
    const bool want =
        want_at != wanted.end() && (have_at == kernel_.prefixes.end() || want_at->first <= have_at->first);
    const PrefixKey key = have ? have_at->first : want_at->first;
    while (!around.empty() && !contains(around.back().first, key)) around.pop_back();
    const std::uint32_t before = have ? have_at->second : around.empty() ? 0 : around.back().second;
    const std::uint32_t after = want ? want_at->second : 0;
    if (!refused && have && before == GRANTD_IDENTITY_NOBODY && (!want || after != before)) unsettled_ = true;
    if (before != GRANTD_IDENTITY_NOBODY && (!want || after != before)) {
      if (refused && !have &&
          std::ranges::find(wanted_.protected_ranges, key.prefix) == wanted_.protected_ranges.end()) {
        ++want_at;
        continue;
      }
      losers_.insert(before);
      close.emplace_back(key, GRANTD_IDENTITY_NOBODY);
      if (want && after != GRANTD_IDENTITY_NOBODY) open.emplace_back(key, after);
    } else if (want && (!have || after != before)) {
      open.emplace_back(key, after);
    }
    if (!want) remove.push_back(key);
    if (have) around.push_back(*have_at++);
    if (want) ++want_at;
  }
  lose_guests();
  std::vector<std::pair<PrefixKey, std::uint32_t>> anew;  // of who loses others; takes no room
  if (renumber_losers()) {
    for (auto& [key, number] : open) number = renumbered(number);
    for (const auto& [key, number] : kernel_.prefixes)
      if (const auto stays = wanted.find(key); stays != wanted.end() && stays->second == number)
        if (const std::uint32_t now = renumbered(number); now != number) anew.emplace_back(key, now);
  }
  if (refused) open.clear();
  open.insert(open.end(), anew.begin(), anew.end());
  if (!close.empty()) add(Close, kLossesSubject, operation::PutPrefixes{std::move(close)});
  if (!open.empty()) add(Open, kIdentitiesSubject, operation::PutPrefixes{std::move(open)}, After::Doubt);
  if (refused) return;
  // Where what is gained could not be written, these stay: of what lies in them that is to be another's, or nobody's,
  // they keep off whoever has what contains them.
  if (!remove.empty()) add(Open, kIdentitiesSubject, operation::RemovePrefixes{std::move(remove)}, After::Doubt);
}

// A guest of this node bears the number that its policy says, whatever became of its prefix.
void Planner::lose_guests() {
  std::map<std::uint32_t, const CompiledEndpoint*> wanted;
  for (const CompiledEndpoint& each : wanted_.endpoints)
    if (!each.host_network && !each.without_record) wanted[each.ifindex] = &each;
  for (const auto& [ifindex, record] : kernel_.endpoints) {
    const auto published = kernel_.published.find(record.slot);
    const auto slot = kernel_.slot_names.find(record.slot);
    if (published == kernel_.published.end() || slot == kernel_.slot_names.end()) continue;
    const auto policy = kernel_.policies.find(published->second);
    if (policy == kernel_.policies.end()) continue;
    const auto stays = wanted.find(ifindex);
    const bool same = stays != wanted.end() && stays->second->grant == text_of(slot->second.grant);
    const auto keeps = [&](const IpAddress& address) {
      const auto& addresses = stays->second->addresses;
      return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    };
    const auto addresses = used_addresses(record);
    if (!same || !std::all_of(addresses.begin(), addresses.end(), keeps)) losers_.insert(policy->second.identity);
  }
}

}  // namespace grantd
