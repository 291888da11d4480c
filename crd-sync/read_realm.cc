#include "crd-sync/names.h"
#include "crd-sync/read_object.h"

#include <algorithm>
#include <array>
#include <set>

namespace grantd {
namespace {

constexpr std::array<std::pair<std::string_view, UplinkClass>, 3> kUplinks = {
    {{"tailnet", UplinkClass::Tailnet}, {"lan", UplinkClass::Lan}, {"overlay", UplinkClass::Overlay}}};

// Ranges in which nobody's realm can lie.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kNoRealm = {{
    {"0.0.0.0/8", "\"this network\""},
    {"127.0.0.0/8", "loopback"},
    {"169.254.0.0/16", "link-local"},
    {"224.0.0.0/4", "multicast"},
    {"::/128", "the unspecified address"},
    {"::1/128", "loopback"},
    {"::ffff:0:0/96", "IPv4 written as IPv6"},
    {"fe80::/10", "link-local"},
    {"ff00::/8", "multicast"},
}};

constexpr std::string_view kAcceptedAddress =
    "IPv4 or IPv6 prefixes without host bits, neither a default route nor loopback, link-local or multicast";
constexpr std::string_view kAcceptedIdentity = "1 to 253 printable ASCII characters without blanks and quotes";

// What speaks against a prefix as one of a realm; "" for nothing.
std::string objection(const IpPrefix& prefix) {
  if (prefix.length == 0) return "is a default route: everybody would be of this realm";
  for (const auto& [range, name] : kNoRealm) {
    const auto parsed = IpPrefix::parse(range);
    if (parsed.ok() && parsed.value().overlaps(prefix))
      return "overlaps " + std::string(name) + ", " + std::string(range);
  }
  return "";
}

void read_addresses(Fields& spec, Realm& realm, ObjectProblems& problems) {
  const auto texts = spec.texts("addresses");
  if (!texts) return;
  std::set<IpPrefix> seen;
  for (const TextField& text : *texts) {
    const auto prefix = IpPrefix::parse(text.text);
    const std::string wrong = prefix.ok() ? objection(prefix.value()) : prefix.error().message;
    if (!wrong.empty()) {
      problems.error(text, wrong, kAcceptedAddress);
      continue;
    }
    if (!seen.insert(prefix.value()).second) problems.warn(text.line, text.path, text.text, "is there twice");
    realm.addresses.push_back({prefix.value(), problems.at(text.line)});
  }
}

void read_uplinks(Fields& spec, Realm& realm, ObjectProblems& problems) {
  constexpr std::string_view kAccepted = "tailnet, lan, overlay, each once; leave the field out for the default";
  const auto texts = spec.texts("uplinks");
  if (!texts) return;
  if (texts->empty()) problems.error(spec.take("uplinks")->line, spec.path("uplinks"), "", "is empty", kAccepted);
  for (const TextField& text : *texts) {
    const auto found =
        std::find_if(kUplinks.begin(), kUplinks.end(), [&text](const auto& each) { return each.first == text.text; });
    if (found == kUplinks.end())
      problems.error(text, "is no class of uplinks", kAccepted);
    else if (std::find(realm.uplinks.begin(), realm.uplinks.end(), found->second) != realm.uplinks.end())
      problems.error(text, "is there twice", kAccepted);
    else
      realm.uplinks.push_back(found->second);
  }
}

bool is_plain_text(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char character) {
    return character > ' ' && character < 0x7f && character != '"' && character != '\'' && character != '\\';
  });
}

bool is_tag(std::string_view text) { return text.starts_with("tag:") && is_plain_text(text.substr(4)); }

std::vector<std::string> read_names(Fields& tailnet, std::string_view field, bool (*good)(std::string_view),
                                    std::string_view accepted, ObjectProblems& problems) {
  std::vector<std::string> names;
  const auto texts = tailnet.texts(field);
  if (!texts) return names;
  for (const TextField& text : *texts) {
    if (!good(text.text))
      problems.error(text, "is no name of this kind", accepted);
    else
      names.push_back(text.text);
  }
  return names;
}

}  // namespace

Realm read_realm(Fields& spec, ObjectProblems& problems) {
  Realm realm;
  if (const auto identity = spec.required_text("identity", kAcceptedIdentity)) {
    if (!is_plain_text(identity->text)) problems.error(*identity, "is no identity", kAcceptedIdentity);
    realm.identity = identity->text;
    realm.identity_line = identity->line;
  }
  read_addresses(spec, realm, problems);
  read_uplinks(spec, realm, problems);
  if (auto tailnet = spec.map("tailnet")) {
    realm.tailnet.dns_names = read_names(*tailnet, "dnsNames", is_dns_subdomain, kAcceptedDnsSubdomain, problems);
    realm.tailnet.tags = read_names(*tailnet, "tags", is_tag, "tag:NAME", problems);
    realm.tailnet.node_ids = read_names(*tailnet, "nodeIDs", is_plain_text, kAcceptedIdentity, problems);
    tailnet->finish();
  }
  spec.finish();
  return realm;
}

}  // namespace grantd
