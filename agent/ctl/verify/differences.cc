#include "agent/ctl/verify/differences.h"

#include "agent/ctl/view/common.h"
#include "agent/plan/encode.h"
#include "agent/snapshot/snapshot.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace grantd {

namespace {

std::string time_text_of(BootNanoseconds time) {
  return time == GRANTD_TIME_NEVER ? "never" : std::to_string(time) + " ns after the start of the node";
}

std::string ranges_text(const grantd_ranges& ranges) {
  std::vector<std::string> texts;
  for (std::size_t index = 0; index < std::min<std::size_t>(ranges.count, GRANTD_RANGES_PER_RULE); index++) {
    const grantd_range& range = ranges.range[index];
    texts.push_back(std::to_string(range.low) + (range.high == range.low ? "" : "-" + std::to_string(range.high)) +
                    "/" + (range.protocol ? protocol_text(range.protocol) : "all") +
                    (range.source ? " by destination " + std::to_string(range.source) : " by default"));
  }
  return (texts.empty() ? "nothing" : joined(texts, ", ")) + (ranges.protected_range ? " (protected)" : "");
}

class Comparison {
 public:
  Comparison(const Said& said, const Records& found) : said_(said), found_(found), state_(found.state) {
    for (const auto& [slot, name] : state_.slot_names)
      if (!slots_.emplace(text_of(name.grant), slot).second)
        lines_.push_back("Grant " + text_of(name.grant) + ": has more than one slot");
    for (const auto& [number, name] : state_.identity_names) numbers_[name] = number;
    numbers_[{IdentityName::Kind::LocalNode, ""}] = GRANTD_IDENTITY_LOCAL_NODE;
  }

  std::vector<std::string> run() {
    lines_.insert(lines_.begin(), said_.not_read.begin(), said_.not_read.end());
    for (const UnheldGuest& each : said_.policy.unheld)
      lines_.push_back("guest " + each.guest + ": is not held: it " + each.why);
    for (const CompiledGrant& grant : said_.policy.grants) compare_grant(grant);
    for (const auto& [slot, policy_id] : state_.published) compare_publication(slot);
    compare_guests();
    compare_prefixes();
    compare_uplinks();
    if (found_.of_every_grant)
      lines_.push_back("rules: " + std::to_string(found_.of_every_grant) +
                       " that hold for every Grant; accepted: none");
    return std::move(lines_);
  }

 private:
  // `what` of `whose`, where the two are not the same.
  void compare(const std::string& whose, const std::string& what, const std::string& in_force,
               const std::string& wanted) {
    if (in_force != wanted) lines_.push_back(whose + ": " + what + " is " + in_force + "; by the manifests " + wanted);
  }
  void compare(const std::string& whose, const std::string& what, std::uint64_t in_force, std::uint64_t wanted) {
    compare(whose, what, std::to_string(in_force), std::to_string(wanted));
  }

  std::uint32_t number_of(const IdentityName& name) const {
    const auto number = numbers_.find(name);
    return number == numbers_.end() ? GRANTD_IDENTITY_NOBODY : number->second;
  }
  // A name without a number is nobody to the datapath, and so no difference would be seen.
  void compare_identity(const std::string& whose, const std::string& what, std::uint32_t number,
                        const IdentityName& name) {
    if (!numbers_.contains(name)) lines_.push_back(whose + ": " + what + ": " + name.name + " has no number");
    compare(whose, what, identity_text(number), identity_text(number_of(name)));
  }
  std::string identity_text(std::uint32_t number) const {
    if (number == GRANTD_IDENTITY_NOBODY) return "nobody";
    if (number == GRANTD_IDENTITY_LOCAL_NODE) return "this node";
    const auto name = state_.identity_names.find(number);
    if (name == state_.identity_names.end()) return "identity " + std::to_string(number) + ", which has no name";
    switch (name->second.kind) {
      case IdentityName::Kind::Grant:
        return "guests of " + name->second.name;
      case IdentityName::Kind::WasRealm:
        return "what was Realm " + name->second.name + " until it lost an address";
      case IdentityName::Kind::WasGrant:
        return "what was guests of " + name->second.name + " until one of them lost an address";
      default:
        return "Realm " + name->second.name;
    }
  }
  std::string slot_text(std::uint32_t slot) const {
    if (slot == 0) return "no Grant";
    const auto name = state_.slot_names.find(slot);
    return name == state_.slot_names.end() ? "slot " + std::to_string(slot) : "Grant " + text_of(name->second.grant);
  }

  void compare_grant(const CompiledGrant& grant) {
    const std::string whose = "Grant " + grant.key;
    const auto slot = slots_.find(grant.key);
    // On a cluster a node has those alone that govern one of its guests.
    if (slot == slots_.end() && !said_.guests) return;
    const auto published = slot == slots_.end() ? state_.published.end() : state_.published.find(slot->second);
    if (!grant.quarantine.empty()) {
      if (published != state_.published.end())
        lines_.push_back(whose + ": is in force; by the manifests it is not: " + grant.quarantine);
      return;
    }
    if (published == state_.published.end()) {
      lines_.push_back(whose + ": is not in force; by the manifests it is");
      return;
    }
    const auto policy = state_.policies.find(published->second);
    if (policy == state_.policies.end()) {
      lines_.push_back(whose + ": its policy is not there");
      return;
    }
    compare_policy(whose, grant, slot->second, policy->second);
    compare_rules(whose, grant, policy->second.rules_id);
    compare_identity_rules(whose, grant, policy->second.rules_id);
  }

  void compare_policy(const std::string& whose, const CompiledGrant& grant, std::uint32_t slot,
                      const grantd_policy& policy) {
    compare(whose, "not_before_ns", time_text_of(policy.not_before_ns), time_text_of(grant.not_before));
    if (policy.not_after_ns > said_.now || grant.not_after > said_.now)
      compare(whose, "not_after_ns", time_text_of(policy.not_after_ns), time_text_of(grant.not_after));
    compare(whose, "end_reason", reason_label(policy.end_reason), reason_label(grant.end_reason));
    compare(whose, "slot", policy.slot, slot);
    const std::tuple<const char*, std::uint32_t, IdentityName> identities[] = {
        {"identity", policy.identity, {IdentityName::Kind::Grant, grant.key}},
        {"grantor_identity", policy.grantor_identity, {IdentityName::Kind::Realm, grant.grantor}},
        {"grantee_identity", policy.grantee_identity, {IdentityName::Kind::Realm, grant.grantee}}};
    for (const auto& [what, number, name] : identities) compare_identity(whose, what, number, name);
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const grantd_limit &limit = policy.limit[direction], wanted = encode_limit(grant.limit[direction], said_.cpus);
      const std::string of = std::string("limit of ") + direction_name(direction) + ", ";
      compare(whose, of + "rate_bps", limit.rate_bps, wanted.rate_bps);
      compare(whose, of + "burst_bytes", limit.burst_bytes, wanted.burst_bytes);
      compare(whose, of + "cost_per_byte", limit.cost_per_byte, wanted.cost_per_byte);
      compare(whose, of + "burst_ns", limit.burst_ns, wanted.burst_ns);
      compare(whose, of + "quantum_bytes", limit.quantum_bytes, wanted.quantum_bytes);
    }
  }

  template <typename Key, typename Text>
  void compare_ranges(const std::string& whose, const std::map<Key, grantd_ranges>& in_force,
                      const std::map<Key, grantd_ranges>& wanted, const Text& text) {
    for (const auto& [key, ranges] : wanted) {
      const auto found = in_force.find(key);
      if (found == in_force.end())
        lines_.push_back(whose + ": the rule for " + text(key) + " is not there; by the manifests " +
                         ranges_text(ranges));
      else if (!same_bytes(found->second, ranges))
        lines_.push_back(whose + ": the rule for " + text(key) + " is " + ranges_text(found->second) +
                         "; by the manifests " + ranges_text(ranges));
    }
    for (const auto& [key, ranges] : in_force)
      if (!wanted.contains(key))
        lines_.push_back(whose + ": the rule for " + text(key) + " is " + ranges_text(ranges) +
                         "; by the manifests there is none");
  }

  template <typename Rules>
  static typename Rules::mapped_type of_id(const Rules& rules, std::uint32_t rules_id) {
    const auto found = rules.find(rules_id);
    return found == rules.end() ? typename Rules::mapped_type{} : found->second;
  }

  void compare_rules(const std::string& whose, const CompiledGrant& grant, std::uint32_t rules_id) {
    std::map<RuleKey, grantd_ranges> wanted;
    for (const CompiledRule& rule : grant.rules)
      wanted[{GRANTD_EGRESS, static_cast<std::uint8_t>(rule.prefix.address.family), rule.prefix}] =
          encode_ranges(rule.ranges, rule.protected_range);
    compare_ranges(whose, of_id(found_.rules, rules_id), wanted, [](const RuleKey& key) {
      return key.prefix.text() +
             (key.direction == GRANTD_EGRESS ? "" : std::string(", ") + direction_name(key.direction));
    });
  }

  void compare_identity_rules(const std::string& whose, const CompiledGrant& grant, std::uint32_t rules_id) {
    std::map<std::pair<std::uint32_t, std::uint32_t>, grantd_ranges> wanted;
    for (const CompiledIdentityRule& rule : grant.identity_rules)
      if (const std::uint32_t number = number_of(rule.identity); number != GRANTD_IDENTITY_NOBODY)
        wanted[{number, rule.direction}] = encode_ranges(rule.ranges, false);
    compare_ranges(whose, of_id(found_.identity_rules, rules_id), wanted,
                   [this](const auto& key) { return identity_text(key.first) + ", " + direction_name(key.second); });
  }

  // What is in force without a manifest that says so.
  void compare_publication(std::uint32_t slot) {
    const auto name = state_.slot_names.find(slot);
    const std::string key = name == state_.slot_names.end() ? "" : text_of(name->second.grant);
    const auto is_it = [&](const CompiledGrant& grant) { return grant.key == key; };
    if (std::any_of(said_.policy.grants.begin(), said_.policy.grants.end(), is_it)) return;
    const auto why = said_.refused.find(key);
    const std::string whose = key.empty() ? "slot " + std::to_string(slot) : "Grant " + key;
    lines_.push_back(why == said_.refused.end()
                         ? whose + ": is in force; by the manifests there is no such Grant"
                         : whose +
                               ": what the manifests say is refused, and an older version in force: " + why->second);
  }

  void compare_guests() {
    if (!said_.guests) return;
    std::set<std::uint32_t> interfaces;
    std::set<std::uint64_t> cgroups;
    for (const CompiledEndpoint& guest : said_.policy.endpoints) {
      if (guest.cgroup_id) {
        cgroups.insert(guest.cgroup_id);
        compare_guest(guest, "cgroup " + std::to_string(guest.cgroup_id), state_.host_guests, guest.cgroup_id, 0);
      }
      if (!guest.host_network) {
        interfaces.insert(guest.ifindex);
        compare_guest(guest, guest.interface, state_.endpoints, guest.ifindex, guest.ifindex);
      }
    }
    for (const auto& [ifindex, record] : state_.endpoints)
      if (!interfaces.contains(ifindex)) no_guest_says_so("interface " + std::to_string(ifindex), record);
    for (const auto& [cgroup, record] : state_.host_guests)
      if (!cgroups.contains(cgroup)) no_guest_says_so("cgroup " + std::to_string(cgroup), record);
  }

  void no_guest_says_so(const std::string& where, const grantd_endpoint& record) {
    if (record.slot == 0) return;
    const auto name = state_.guests.find(record.endpoint_id);
    const std::string whose = name == state_.guests.end() ? "" : ", named " + text_of(name->second.guest);
    lines_.push_back(where + whose + ": is under " + slot_text(record.slot) + "; by the manifests there is no guest");
  }

  template <typename Key>
  void compare_guest(const CompiledEndpoint& guest, const std::string& where,
                     const std::map<Key, grantd_endpoint>& records, const Key& key, std::uint32_t ifindex) {
    const std::string whose = "guest " + guest.guest;
    const auto found = records.find(key);
    if (found == records.end()) {
      if (!guest.without_record) lines_.push_back(whose + ": " + where + " has no record");
      return;
    }
    const grantd_endpoint &record = found->second, wanted = encode_endpoint(guest);
    const auto slot = slots_.find(guest.grant);
    const std::uint32_t wanted_slot = slot == slots_.end() ? 0 : slot->second;
    if (record.slot != wanted_slot)
      lines_.push_back(whose + ": its Grant in the record of " + where + " is " + slot_text(record.slot) +
                       "; by the manifests " + slot_text(wanted_slot));
    const auto name = state_.guests.find(record.endpoint_id);
    compare(whose, "the name of " + where,
            name == state_.guests.end() ? "not there" : text_of(name->second.guest) + " " + text_of(name->second.uid),
            guest.guest + " " + guest.uid);
    compare(whose, "ifindex", record.ifindex, ifindex);
    compare(whose, "flags", record.flags, wanted.flags);
    compare(whose, "mac", decode_mac(record).text(), decode_mac(wanted).text());
    compare(whose, "addresses", addresses_text(record), addresses_text(wanted));
    compare(whose, "link_local", IpAddress::from_mapped(record.link_local).text(),
            IpAddress::from_mapped(wanted.link_local).text());
    compare(whose, "gateway", gateways_text(record), gateways_text(wanted));
  }

  static std::string addresses_text(const grantd_endpoint& record) {
    std::vector<std::string> texts;
    for (const IpAddress& each : decode_addresses(record)) texts.push_back(each.text());
    return joined(texts, ", ");
  }
  static std::string gateways_text(const grantd_endpoint& record) {
    std::vector<std::string> texts;
    for (const grantd_address& each : record.gateway) texts.push_back(IpAddress::from_mapped(each).text());
    return joined(texts, ", ");
  }

  void compare_prefixes() {
    if (said_.policy.prefixes_refused) {
      lines_.emplace_back("Realms: have more addresses than this node takes, and an older version in force");
      return;
    }
    std::map<PrefixKey, std::uint32_t> wanted;
    for (const CompiledPrefix& each : said_.policy.prefixes)
      wanted[{each.uplink_class, each.prefix}] = number_of(each.identity);
    for (const CompiledPrefix& each : said_.policy.prefixes)
      if (each.identity.kind != IdentityName::Kind::Nobody && !numbers_.contains(each.identity))
        lines_.push_back("addresses: " + each.prefix.text() + ": " + each.identity.name + " has no number");
    const auto text = [](const PrefixKey& key) {
      const std::string from = key.uplink_class == GRANTD_UPLINK_DESTINATION
                                   ? "as a destination"
                                   : std::string("from ") + uplink_class_name(key.uplink_class);
      return key.prefix.text() + " " + from;
    };
    for (const auto& [key, number] : wanted) {
      const auto found = state_.prefixes.find(key);
      compare("addresses", text(key), found == state_.prefixes.end() ? "not there" : identity_text(found->second),
              identity_text(number));
    }
    for (const auto& [key, number] : state_.prefixes)
      if (!wanted.contains(key) && (said_.guests || !(is_guests(number) || is_guests_address(key.prefix))))
        compare("addresses", text(key), identity_text(number), "not there");
  }

  bool is_guests(std::uint32_t number) const {
    const auto name = state_.identity_names.find(number);
    return name != state_.identity_names.end() && name->second.kind == IdentityName::Kind::Grant;
  }

  // A guest has no Realm's address, so a hole is carved for one that has.
  bool is_guests_address(const IpPrefix& prefix) const {
    return prefix.length == prefix.address.bits() &&
           std::any_of(state_.endpoints.begin(), state_.endpoints.end(), [&](const auto& each) {
             const auto addresses = used_addresses(each.second);
             return std::find(addresses.begin(), addresses.end(), prefix.address) != addresses.end();
           });
  }

  void compare_uplinks() {
    std::map<std::uint32_t, const CompiledUplink*> wanted;
    // Without guests nobody knows which interfaces are theirs, but from their records.
    for (const CompiledUplink& each : said_.policy.uplinks)
      if (said_.guests || !(state_.endpoints.contains(each.ifindex) || said_.bridges.contains(each.ifindex)))
        wanted[each.ifindex] = &each;
    for (const auto& [ifindex, uplink] : wanted) {
      const std::string whose = "uplink " + uplink->interface;
      const auto found = state_.uplinks.find(ifindex);
      if (found == state_.uplinks.end()) {
        lines_.push_back(whose + ": has no record");
        continue;
      }
      compare(whose, "uplink_class", uplink_class_name(found->second.uplink_class),
              uplink_class_name(uplink->uplink_class));
      compare(whose, "layer3", found->second.layer3, uplink->layer3 ? 1 : 0);
      compare(whose, "ifindex", found->second.ifindex, ifindex);
    }
    for (const auto& [ifindex, record] : state_.uplinks)
      if (!wanted.contains(ifindex))
        lines_.push_back("interface " + std::to_string(ifindex) + ": is an uplink (" +
                         uplink_class_name(record.uplink_class) + "); by what the agent was told it is none");
  }

  const Said& said_;
  const Records& found_;
  const KernelState& state_;
  std::map<std::string, std::uint32_t> slots_;  // by Grant
  std::map<IdentityName, std::uint32_t> numbers_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> differences(const Said& said, const Records& found) { return Comparison(said, found).run(); }

}  // namespace grantd
