#include "crd-sync/destination.h"

#include "crd-sync/names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace grantd {
namespace {

constexpr std::array<std::pair<std::string_view, Protocol>, 4> kProtocols = {
    {{"TCP", Protocol::Tcp}, {"UDP", Protocol::Udp}, {"SCTP", Protocol::Sctp}, {"ICMP", Protocol::Icmp}}};

// What no packet that leaves a guest may go to (is_martian, is_multicast, is_broadcast in bpf/packet.h, and the
// link-local addresses of IPv6): an entry that lies inside opens nothing.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kNeverGranted = {{
    {"0.0.0.0/8", "\"this network\""},
    {"127.0.0.0/8", "loopback"},
    {"224.0.0.0/4", "multicast"},
    {"255.255.255.255/32", "broadcast"},
    {"240.0.0.0/4", "reserved"},
    {"224.0.0.0/3", "multicast and reserved"},
    {"::/127", "the unspecified address or loopback"},
    {"fe80::/10", "link-local"},
    {"ff00::/8", "multicast"},
}};

std::optional<Protocol> protocol(std::string_view text) {
  for (const auto& [name, value] : kProtocols)
    if (text == name) return value;
  return std::nullopt;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

Result<std::uint16_t> port(std::string_view text) {
  unsigned value = 0;
  const bool digits = !text.empty() && text.size() <= 5 && text[0] != '0' &&
                      std::all_of(text.begin(), text.end(), [](char digit) { return digit >= '0' && digit <= '9'; });
  if (digits)
    for (const char digit : text) value = value * 10 + static_cast<unsigned>(digit - '0');
  if (!digits || value > 65535) return Error{"the port is not a number from 1 to 65535"};
  return static_cast<std::uint16_t>(value);
}

// What follows the colon.
Result<std::vector<PortRange>> ranges(std::string_view text) {
  if (const auto alone = protocol(text)) return std::vector{PortRange{*alone}};
  const std::size_t slash = text.find('/');
  const std::string_view ports = text.substr(0, slash);
  const std::size_t dash = ports.find('-');
  const Result<std::uint16_t> low = port(ports.substr(0, dash));
  if (!low) return low.error();
  const Result<std::uint16_t> high = dash == std::string_view::npos ? low : port(ports.substr(dash + 1));
  if (!high) return high.error();
  if (low.value() > high.value()) return Error{"the range of ports runs backwards"};
  if (slash == std::string_view::npos)
    return std::vector{PortRange{Protocol::Tcp, low.value(), high.value()},
                       PortRange{Protocol::Udp, low.value(), high.value()}};
  const auto named = protocol(text.substr(slash + 1));
  if (!named) return Error{"the protocol is not TCP, UDP, SCTP or ICMP"};
  if (*named == Protocol::Icmp) return Error{"ICMP has no ports; write HOST:ICMP, which opens echo requests"};
  return std::vector{PortRange{*named, low.value(), high.value()}};
}

Result<Destination> prefix_host(std::string_view text) {
  Destination host;
  const Result<IpPrefix> prefix = IpPrefix::parse(text);
  if (!prefix) return prefix.error();
  host.prefix = prefix.value();
  return host;
}

// Sets `rest` to what follows the host, from its colon on.
Result<Destination> host_of(std::string_view text, std::string_view& rest) {
  if (text.find("://") != std::string_view::npos) return Error{"is a URL; what is opened is an address and a port"};
  const auto split = [&rest](std::string_view& host) {
    const std::size_t colon = host.find(':');
    rest = colon == std::string_view::npos ? std::string_view{} : host.substr(colon);
    host = host.substr(0, colon);
  };
  Destination host;
  if (take(text, "[")) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return Error{"the bracket is not closed"};
    rest = text.substr(bracket + 1);
    text = text.substr(0, bracket);
    if (text.find(':') == std::string_view::npos) return Error{"only IPv6 stands in brackets"};
    return prefix_host(text);
  }
  if (take(text, "realm:")) {
    split(text);
    if (!is_dns_subdomain(text)) return Error{"realm: is not followed by a realm's name"};
    host.kind = Destination::Kind::Realm;
    host.name = text;
    return host;
  }
  if (take(text, "service:")) {
    split(text);
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos || !is_dns_label(text.substr(0, slash)) ||
        !is_dns_label(text.substr(slash + 1)))
      return Error{"service: is not followed by NAMESPACE/NAME"};
    host.kind = Destination::Kind::Service;
    host.name = text;
    return host;
  }
  if (text.starts_with("fqdn:")) return Error{"fqdn: is not supported yet"};
  if (std::count(text.begin(), text.end(), ':') > 1) return prefix_host(text);  // IPv6 without a port
  split(text);
  if (text == "internet") {
    host.kind = Destination::Kind::Internet;
    return host;
  }
  if (text.find_first_not_of("0123456789./") == std::string_view::npos) return prefix_host(text);
  if (text.find('.') != std::string_view::npos)
    return Error{"is no address; a realm whose name has a dot is written realm:NAME, and host names are not supported"};
  if (!is_dns_label(text)) return Error{"is neither an address nor a realm's name"};
  host.kind = Destination::Kind::Realm;
  host.name = text;
  return host;
}

}  // namespace

Result<Destination> parse_destination(std::string_view text) {
  std::string_view rest;
  Result<Destination> host = host_of(text, rest);
  if (!host) return host;
  Destination destination = std::move(host).value();
  destination.text = text;
  if (rest.empty()) {
    destination.ranges = {PortRange{}};
    return destination;
  }
  if (!take(rest, ":")) return Error{"what follows the bracket is not a port"};
  Result<std::vector<PortRange>> opened = ranges(rest);
  if (!opened) return opened.error();
  destination.ranges = std::move(opened).value();
  return destination;
}

std::string never_granted(const Destination& destination) {
  if (destination.kind != Destination::Kind::Prefix) return "";
  for (const auto& [range, name] : kNeverGranted)
    if (const auto parsed = IpPrefix::parse(range); parsed.ok() && parsed.value().contains(destination.prefix))
      return "lies in " + std::string(range) + ", " + std::string(name) + ", to which nothing ever leaves a guest";
  return "";
}

const char* protocol_name(Protocol value) {
  for (const auto& [name, known] : kProtocols)
    if (known == value) return name.data();
  return "all";
}

const char* protocol_name(std::uint8_t number) {
  for (const auto& [name, known] : kProtocols)
    if (static_cast<std::uint8_t>(known) == number) return name.data();
  return nullptr;
}

}  // namespace grantd
