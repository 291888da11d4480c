#include "agent/ctl/explain/question.h"

#include "crd-sync/destination.h"

#include <algorithm>

namespace grantd {
namespace {

constexpr const char* kAcceptedEnd =
    "accepted: a guest's name or an address, and on one side at most :PORT[/PROTOCOL] or :ICMP, "
    "such as 203.0.113.7:443/TCP, [2001:db8::1]:53/UDP, bob-web:80/TCP";

struct ParsedEnd {
  End end;
  std::vector<Probe> probes;  // empty where no port or protocol was named
};

Error refused(std::string_view text, const std::string& why) {
  return Error{"'" + std::string(text) + "': " + why + "; " + kAcceptedEnd, 0};
}

bool looks_like_address(std::string_view text) {
  return text.starts_with("[") || std::count(text.begin(), text.end(), ':') > 1 ||
         text.substr(0, text.find(':')).find_first_not_of("0123456789./") == std::string_view::npos;
}

Result<std::vector<Probe>> probes_of(std::string_view text, const std::vector<PortRange>& ranges) {
  std::vector<Probe> probes;
  for (const PortRange& range : ranges) {
    if (range.protocol == Protocol::Any) continue;  // nothing was named
    if (range.protocol == Protocol::Icmp) {
      probes.push_back({Protocol::Icmp, 0});
      continue;
    }
    if (range.low != range.high) return refused(text, "is many ports; one packet goes to one");
    probes.push_back({range.protocol, range.low});
  }
  return probes;
}

Result<ParsedEnd> parse_address(std::string_view text) {
  auto destination = parse_destination(text);
  if (!destination) return refused(text, destination.error().message);
  const IpPrefix& prefix = destination.value().prefix;
  if (destination.value().kind != Destination::Kind::Prefix || prefix.length != prefix.address.bits())
    return refused(text, "is not one single address");
  auto probes = probes_of(text, destination.value().ranges);
  if (!probes) return probes.error();
  return ParsedEnd{{"", prefix.address}, std::move(probes).value()};
}

Result<ParsedEnd> parse_guest(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  if (name.empty() || name == "realm" || name == "service" || name == "fqdn")
    return refused(text, "is neither a guest's name nor an address");
  ParsedEnd parsed;
  parsed.end.guest = name;
  if (colon == std::string_view::npos) return parsed;
  // The grammar of ports is that of destinations, whatever the host.
  auto ports = parse_destination("guest" + std::string(text.substr(colon)));
  if (!ports) return refused(text, ports.error().message);
  auto probes = probes_of(text, ports.value().ranges);
  if (!probes) return probes.error();
  parsed.probes = std::move(probes).value();
  return parsed;
}

Result<ParsedEnd> parse_end(const char* which, std::string_view text) {
  auto end = looks_like_address(text) ? parse_address(text) : parse_guest(text);
  if (!end) return Error{std::string(which) + " " + end.error().message, 0};
  return end;
}

}  // namespace

Result<Question> parse_question(std::string_view source, std::string_view destination) {
  auto from = parse_end("SOURCE", source);
  if (!from) return from.error();
  auto to = parse_end("DESTINATION", destination);
  if (!to) return to.error();
  const std::string both = "SOURCE '" + std::string(source) + "' and DESTINATION '" + std::string(destination) + "'";
  if (from.value().end.guest.empty() && to.value().end.guest.empty())
    return Error{both + ": neither is a guest's name; " + kAcceptedEnd, 0};
  if (!from.value().probes.empty() && !to.value().probes.empty())
    return Error{both + ": both name a port; accepted: on one of them the port that the sender sends to", 0};
  auto& probes = to.value().probes.empty() ? from.value().probes : to.value().probes;
  if (probes.empty()) probes.push_back({Protocol::Icmp, 0});  // what has no port; see --help
  return Question{std::move(from.value().end), std::move(to.value().end), std::move(probes)};
}

}  // namespace grantd
