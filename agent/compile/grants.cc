#include "agent/compile/grants.h"

#include "agent/compile/address_rules.h"
#include "agent/compile/ranges.h"
#include "agent/compile/refusal.h"
#include "agent/compile/validity.h"
#include "crd-sync/destination.h"
#include "crd-sync/element_path.h"

#include <algorithm>
#include <map>

namespace grantd {

namespace {

constexpr std::uint64_t kMaxBurstNs = (1ULL << 39) - 1;  // what the datapath's arithmetic holds
constexpr const char* kDestinations = "spec.networkPolicy.allowedDestinations";

Error refusal_of(std::string field, std::string value, const SourcePosition& position, std::string message,
                 std::string accepted, Problem& wrong) {
  wrong.field = std::move(field);
  wrong.value = std::move(value);
  wrong.position = position;
  return refusal(wrong, std::move(message), std::move(accepted));
}

Result<CompiledLimit> compile_limit(const char* field, std::optional<std::uint64_t> rate_bps,
                                    std::optional<std::uint64_t> burst_bytes, int burst_line, Problem& wrong) {
  if (!rate_bps) return CompiledLimit{};
  CompiledLimit limit{*rate_bps, burst_bytes.value_or(default_burst_bytes(*rate_bps))};
  // burst <= 2^36 bytes, so the product with 8 x 10^9 needs 128 bits.
  const auto burst_ns = static_cast<unsigned __int128>(limit.burst_bytes) * 8 * GRANTD_NS_PER_SECOND / *rate_bps;
  if (burst_ns > kMaxBurstNs)
    return refusal_of(field, std::to_string(limit.burst_bytes), place_of_field(wrong.position, burst_line),
                      "lasts more than " + std::to_string(kMaxBurstNs / GRANTD_NS_PER_SECOND) + " s at the rate of " +
                          std::to_string(*rate_bps) + " bit/s",
                      "a smaller burst", wrong);
  return limit;
}

// Ranges by identity, in both directions.
class IdentityRules {
 public:
  void open(const IdentityName& identity, grantd_direction direction, const std::vector<CompiledRange>& ranges) {
    auto& known = rules_[{direction, identity}];
    known.insert(known.end(), ranges.begin(), ranges.end());
  }

  std::vector<CompiledIdentityRule> take() const {
    std::vector<CompiledIdentityRule> all;
    for (const auto& [key, ranges] : rules_) all.push_back({key.second, key.first, unite(ranges, {})});
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  std::map<std::pair<grantd_direction, IdentityName>, std::vector<CompiledRange>> rules_;
};

std::vector<CompiledRange> ranges_of(const Destination& destination, std::uint16_t source) {
  std::vector<CompiledRange> ranges;
  for (const PortRange& range : destination.ranges) ranges.push_back({range, source});
  return ranges;
}

IdentityName identity_of(Party party, const Grant& grant) {
  switch (party) {
    case Party::Grantee:
      return {IdentityName::Kind::Realm, grant.grantee_realm};
    case Party::Grantor:
      return {IdentityName::Kind::Realm, grant.grantor_realm};
    case Party::LocalNode:
      return {IdentityName::Kind::LocalNode, ""};
    case Party::SameGrant:
      return {IdentityName::Kind::Grant, grant.key()};
  }
  return {};
}

void warn(const Grant& grant, const SourcePosition& position, std::string field, std::string value, std::string message,
          std::vector<Problem>& problems) {
  problems.push_back({Severity::Warning, position, "Grant " + grant.key(), std::move(field), std::move(value),
                      std::move(message), ""});
}

// Numbers past the last one that fits say nothing: the entry is named by its field alone then. 0: none.
std::uint16_t add_source(CompiledGrant& compiled, std::string text, const SourcePosition& position) {
  if (compiled.sources.size() >= UINT16_MAX) return 0;
  compiled.sources.own().push_back({std::move(text), position});
  return static_cast<std::uint16_t>(compiled.sources.size());
}

Error unknown_realm(std::string field, std::string value, const SourcePosition& position, Problem& wrong) {
  return refusal_of(std::move(field), std::move(value), position, "no such Realm", "the name of a Realm", wrong);
}

std::string place_of(const CompiledRule& rule) {
  return rule.prefix.length == rule.prefix.address.bits() ? rule.prefix.address.text() : rule.prefix.text();
}

std::string place_of(const CompiledIdentityRule& rule) { return "realm:" + rule.identity.name; }

// "200 TCP, 200 UDP"
std::string counts_text(const std::vector<CompiledRange>& ranges) {
  std::map<Protocol, std::size_t> counts;
  for (const CompiledRange& each : ranges) counts[each.range.protocol]++;
  std::string text;
  for (const auto& [protocol, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + protocol_name(protocol);
  return text;
}

// Fails with the first list that is too long even after it was shortened, of which the first entry is told.
template <typename Rule>
Result<void> bound(std::vector<Rule>& rules, const CompiledGrant& compiled, Problem& wrong) {
  for (Rule& rule : rules) {
    rule.ranges = shorten(std::move(rule.ranges), GRANTD_RANGES_PER_RULE);
    if (rule.ranges.size() <= GRANTD_RANGES_PER_RULE) continue;
    std::size_t first = compiled.sources.size();
    for (const CompiledRange& each : rule.ranges)
      if (each.source > 0) first = std::min<std::size_t>(first, each.source - 1U);
    const bool known = first < compiled.sources.size();
    return refusal_of(known ? element_path(kDestinations, first) : kDestinations,
                      known ? compiled.sources[first].text : "",
                      known ? compiled.sources[first].position : wrong.position,
                      std::to_string(rule.ranges.size()) + " separate ranges of ports come together at " +
                          place_of(rule) + " (" + counts_text(rule.ranges) + ")",
                      "at most " + std::to_string(GRANTD_RANGES_PER_RULE) +
                          " of all protocols together, where a port without a protocol counts for TCP and for UDP and "
                          "neighbours can be joined as LOW-HIGH",
                      wrong);
  }
  return {};
}

// After the destinations, whose numbers begin with 1.
void open_parties(const Grant& grant, IdentityRules& identities, CompiledGrant& compiled) {
  for (std::size_t index = 0; index < grant.ingress_from.size(); index++) {
    const Party party = grant.ingress_from[index];
    const IdentityName identity = identity_of(party, grant);
    CompiledRange everything = kEverything;
    if (index < grant.ingress_from_at.size())
      everything.source = add_source(compiled, std::string("spec.networkPolicy.ingress.from: ") + party_name(party),
                                     grant.ingress_from_at[index]);
    identities.open(identity, GRANTD_INGRESS, {everything});
    if (party == Party::SameGrant) identities.open(identity, GRANTD_EGRESS, {everything});
  }
  // The grantee's realm cannot be left out.
  const IdentityName grantee{IdentityName::Kind::Realm, grant.grantee_realm};
  identities.open(grantee, GRANTD_INGRESS, {kEverything});
  identities.open(grantee, GRANTD_EGRESS, {kEverything});
}

Result<void> open_destinations(const Grant& grant, const std::set<std::string>& realms, AddressRules& addresses,
                               IdentityRules& identities, CompiledGrant& compiled, std::vector<Problem>& problems,
                               Problem& wrong) {
  for (std::size_t index = 0; index < grant.destinations.size(); index++) {
    const Destination& destination = grant.destinations[index];
    const std::string field = element_path(kDestinations, index);
    const std::uint16_t source = add_source(compiled, destination.text, destination.position);
    if (source == 0)
      return refusal_of(field, destination.text, destination.position, "too many entries",
                        "at most " + std::to_string(UINT16_MAX), wrong);
    const auto ranges = ranges_of(destination, source);
    switch (destination.kind) {
      case Destination::Kind::Prefix:
        addresses.open(destination.prefix, ranges);
        break;
      case Destination::Kind::Internet:
        addresses.open_internet(ranges);
        break;
      case Destination::Kind::Realm:
        if (!realms.contains(destination.name))
          return unknown_realm(field, destination.text, destination.position, wrong);
        identities.open({IdentityName::Kind::Realm, destination.name}, GRANTD_EGRESS, ranges);
        break;
      case Destination::Kind::Service:
        warn(grant, destination.position, field, destination.text,
             "services are not looked up; this entry opens nothing", problems);
        continue;
    }
    compiled.destinations++;
  }
  return {};
}

}  // namespace

std::uint64_t default_burst_bytes(std::uint64_t rate_bps) {
  return std::max<std::uint64_t>(256 * 1024, rate_bps / 8 / 4);
}

Result<CompiledGrant> compile_grant(const Grant& grant, const std::set<std::string>& realms,
                                    const std::vector<IpPrefix>& protected_prefixes, const TimeFacts& time,
                                    std::vector<Problem>& problems, Problem& wrong) {
  CompiledGrant compiled;
  compiled.key = grant.key();
  compiled.grantor = grant.grantor_realm;
  compiled.grantee = grant.grantee_realm;
  compiled.position = grant.position;
  if (!realms.contains(grant.grantor_realm))
    return unknown_realm("spec.grantorRealm", grant.grantor_realm, place_of_field(grant.position, grant.grantor_line),
                         wrong);
  if (!realms.contains(grant.grantee_realm))
    return unknown_realm("spec.granteeRealm", grant.grantee_realm, place_of_field(grant.position, grant.grantee_line),
                         wrong);

  auto egress = compile_limit("spec.bandwidth.egressBurst", grant.egress_bps, grant.egress_burst_bytes,
                              grant.egress_burst_line, wrong);
  if (!egress) return egress.error();
  auto ingress = compile_limit("spec.bandwidth.ingressBurst", grant.ingress_bps, grant.ingress_burst_bytes,
                               grant.ingress_burst_line, wrong);
  if (!ingress) return ingress.error();
  compiled.limit[GRANTD_EGRESS] = egress.value();
  compiled.limit[GRANTD_INGRESS] = ingress.value();

  const bool destinations_open = judge_validity(grant, time, compiled);
  AddressRules addresses;
  IdentityRules identities;
  for (const IpPrefix& prefix : protected_prefixes) addresses.protect(prefix);
  if (grant.egress_allowed && destinations_open) {
    auto opened = open_destinations(grant, realms, addresses, identities, compiled, problems, wrong);
    if (!opened) return opened.error();
  }
  open_parties(grant, identities, compiled);
  for (const WrittenField& field : grant.time_fields) add_source(compiled, field.text, field.position);
  if (grant.dns_cluster)
    warn(grant, place_of_field(grant.position, grant.dns_line), "spec.networkPolicy.dns", "Cluster",
         "the DNS service is not looked up; it opens nothing", problems);
  compiled.rules = addresses.close();
  compiled.identity_rules = identities.take();
  if (auto bounded = bound(compiled.rules, compiled, wrong); !bounded) return bounded.error();
  if (auto bounded = bound(compiled.identity_rules, compiled, wrong); !bounded) return bounded.error();
  return compiled;
}

}  // namespace grantd
