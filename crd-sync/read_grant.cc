#include "crd-sync/destination.h"
#include "crd-sync/names.h"
#include "crd-sync/quantity.h"
#include "crd-sync/read_object.h"
#include "crd-sync/read_selector.h"
#include "crd-sync/time_text.h"

#include <algorithm>
#include <array>

namespace grantd {
namespace {

constexpr std::string_view kEgressBandwidth = "keystone.io/egress-bandwidth";
constexpr std::string_view kIngressBandwidth = "keystone.io/ingress-bandwidth";
constexpr std::int64_t kMaxNoticeSeconds = 30 * 24 * 3600;

constexpr std::array<std::pair<std::string_view, Party>, 4> kParties = {{{"Grantee", Party::Grantee},
                                                                         {"Grantor", Party::Grantor},
                                                                         {"LocalNode", Party::LocalNode},
                                                                         {"SameGrant", Party::SameGrant}}};

std::string realm_name(Fields& spec, std::string_view field, int& line, ObjectProblems& problems) {
  const auto text = spec.required_text(field, "the name of a Realm");
  if (!text) return "";
  line = text->line;
  if (!is_dns_subdomain(text->text)) problems.error(*text, "is no Realm's name", kAcceptedDnsSubdomain);
  return text->text;
}

std::optional<std::uint64_t> whole_number(const TextField& text, Result<std::uint64_t> (*parse)(std::string_view),
                                          std::string_view accepted, ObjectProblems& problems) {
  const auto value = parse(text.text);
  if (value) return value.value();
  problems.error(text, value.error().message, accepted);
  return std::nullopt;
}

std::string_view accepted_of(std::string_view quantity) {
  return quantity == kEgressBandwidth || quantity == kIngressBandwidth ? kAcceptedBandwidth : kAcceptedQuantity;
}

// Also as a ResourceQuota would have it, `requests.keystone.io/...`: what is written so is meant as a limit.
bool is_of_keystone(std::string_view resource) {
  const std::string_view domain = resource.substr(0, resource.find('/'));
  return domain.size() < resource.size() && (domain == "keystone.io" || domain.ends_with(".keystone.io"));
}

void read_hard(Fields& hard, Grant& grant, ObjectProblems& problems) {
  for (const auto& [key, text] : hard.each_quantity(accepted_of)) {
    if (key.text == kEgressBandwidth) {
      grant.egress_bps = whole_number(text, parse_bandwidth, kAcceptedBandwidth, problems);
    } else if (key.text == kIngressBandwidth) {
      grant.ingress_bps = whole_number(text, parse_bandwidth, kAcceptedBandwidth, problems);
    } else if (is_of_keystone(key.text)) {
      problems.error(key.line, text.path, "", "is an unknown quantity of keystone.io",
                     std::string(kEgressBandwidth) + ", " + std::string(kIngressBandwidth));
    } else if (!is_qualified_name(key.text)) {
      problems.error(key.line, text.path, "", "is no resource's name", "names as in a ResourceQuota");
    } else if (const auto quantity = parse_quantity(text.text); !quantity) {
      problems.error(text, quantity.error().message, kAcceptedQuantity);
    }
    grant.hard[key.text] = text.text;
  }
}

void read_bandwidth(Fields& bandwidth, Grant& grant, ObjectProblems& problems) {
  const auto read = [&](std::string_view field, const std::optional<std::uint64_t>& rate, std::string_view rate_name,
                        int& line) {
    const auto text = bandwidth.quantity(field, kAcceptedBurst);
    if (!text) return std::optional<std::uint64_t>{};
    line = text->line;
    if (!rate)
      problems.warn(text->line, text->path, text->text,
                    "has no effect without spec.hard[\"" + std::string(rate_name) + "\"]");
    return whole_number(*text, parse_burst, kAcceptedBurst, problems);
  };
  grant.egress_burst_bytes = read("egressBurst", grant.egress_bps, kEgressBandwidth, grant.egress_burst_line);
  grant.ingress_burst_bytes = read("ingressBurst", grant.ingress_bps, kIngressBandwidth, grant.ingress_burst_line);
  bandwidth.finish();
}

void read_destinations(Fields& policy, Grant& grant, ObjectProblems& problems) {
  const auto texts = policy.texts("allowedDestinations");
  if (!texts) return;
  std::vector<Destination>& destinations = grant.destinations.own();
  destinations.reserve(texts->size());
  for (const TextField& text : *texts) {
    auto destination = parse_destination(text.text);
    if (!destination) {
      problems.error(text, destination.error().message, kAcceptedDestination);
      continue;
    }
    if (const std::string never = never_granted(destination.value()); !never.empty())
      problems.error(text, never, kAcceptedUnicast);
    destinations.push_back(std::move(destination).value());
    destinations.back().position = problems.at(text.line);
  }
  if (!grant.egress_allowed && !texts->empty())
    problems.warn(texts->front().line, policy.path("allowedDestinations"), "",
                  "is ignored, because egressAllowed is not true");
}

void read_ingress(Fields& ingress, Grant& grant, ObjectProblems& problems) {
  constexpr std::string_view kAccepted = "Grantee, which cannot be left out, Grantor, LocalNode, SameGrant, each once";
  if (const auto texts = ingress.texts("from")) {
    std::vector<Party> from;
    grant.ingress_from_at.clear();
    const int errors = problems.errors();
    for (const TextField& text : *texts) {
      const auto found =
          std::find_if(kParties.begin(), kParties.end(), [&text](const auto& each) { return each.first == text.text; });
      if (found == kParties.end())
        problems.error(text, "is no party to the Grant", kAccepted);
      else if (std::find(from.begin(), from.end(), found->second) != from.end())
        problems.error(text, "is there twice", kAccepted);
      else {
        from.push_back(found->second);
        grant.ingress_from_at.push_back(problems.at(text.line));
      }
    }
    if (problems.errors() == errors && std::find(from.begin(), from.end(), Party::Grantee) == from.end())
      problems.error(ingress.take("from")->line, ingress.path("from"), "", "leaves out Grantee", kAccepted);
    grant.ingress_from = std::move(from);
  }
  ingress.finish();
}

void read_policy(Fields& policy, Grant& grant, ObjectProblems& problems) {
  grant.egress_allowed = policy.boolean("egressAllowed").value_or(false);
  read_destinations(policy, grant, problems);
  if (auto ingress = policy.map("ingress")) read_ingress(*ingress, grant, problems);
  if (const auto dns = policy.text("dns")) {
    if (dns->text != "None" && dns->text != "Cluster") problems.error(*dns, "is unknown", "None, Cluster");
    grant.dns_cluster = dns->text == "Cluster";
    grant.dns_line = dns->line;
  }
  policy.finish();
}

void read_validity(Fields& validity, Grant& grant, ObjectProblems& problems) {
  const auto read = [&](std::string_view field) -> std::optional<WallTime> {
    const auto text = validity.text(field);
    if (!text) return std::nullopt;
    const auto time = parse_time(text->text);
    if (time) {
      grant.time_fields.push_back({text->path + ": " + time_text(time.value()), problems.at(text->line)});
      return time.value();
    }
    problems.error(*text, time.error().message, kAcceptedTime);
    return std::nullopt;
  };
  grant.valid_from = read("validFrom");
  grant.valid_until = read("validUntil");
  if (grant.valid_from && grant.valid_until && *grant.valid_until <= *grant.valid_from)
    problems.error(validity.take("validUntil")->line, validity.path("validUntil"), time_text(*grant.valid_until),
                   "is not after validFrom", "a time after " + time_text(*grant.valid_from));
  validity.finish();
}

}  // namespace

Grant read_grant(Fields& spec, ObjectProblems& problems) {
  Grant grant;
  grant.grantor_realm = realm_name(spec, "grantorRealm", grant.grantor_line, problems);
  grant.grantee_realm = realm_name(spec, "granteeRealm", grant.grantee_line, problems);
  if (auto hard = spec.map("hard")) read_hard(*hard, grant, problems);
  if (auto bandwidth = spec.map("bandwidth")) read_bandwidth(*bandwidth, grant, problems);
  if (auto policy = spec.map("networkPolicy")) read_policy(*policy, grant, problems);
  if (auto selector = spec.map("selector")) read_selector(*selector, grant, problems);
  if (auto validity = spec.map("validity")) read_validity(*validity, grant, problems);
  grant.revoked = spec.boolean("revoked").value_or(false);
  if (grant.revoked) grant.time_fields.push_back({"spec.revoked: true", problems.at(spec.take("revoked")->line)});
  if (auto revocation = spec.map("revocation")) {
    grant.notice_period =
        std::chrono::seconds{revocation->integer("noticePeriodSeconds", 0, kMaxNoticeSeconds).value_or(0)};
    revocation->finish();
  }
  spec.finish();
  return grant;
}

const char* party_name(Party party) {
  for (const auto& [name, known] : kParties)
    if (known == party) return name.data();
  return "";
}

}  // namespace grantd
