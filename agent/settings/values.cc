#include "agent/settings/values.h"

#include "agent/guests/cri/cri_socket.h"
#include "crd-sync/kubernetes/guest_pattern.h"
#include "crd-sync/names.h"
#include "maps/stamp_settings.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace grantd {

namespace {

constexpr std::pair<std::string_view, UplinkClass> kClasses[] = {{"tailnet", UplinkClass::Tailnet},
                                                                 {"lan", UplinkClass::Lan},
                                                                 {"overlay", UplinkClass::Overlay},
                                                                 {"untrusted", UplinkClass::Untrusted}};

std::optional<UplinkClass> class_of(std::string_view text) {
  for (const auto& [name, value] : kClasses)
    if (name == text) return value;
  return std::nullopt;
}

// The whole text as a number.
template <typename Number>
std::optional<Number> number_of(std::string_view text, int base = 10) {
  Number number{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::uint32_t> mask_of(std::string_view text) {
  return text.starts_with("0x") ? number_of<std::uint32_t>(text.substr(2), 16) : number_of<std::uint32_t>(text);
}

bool is_listen_address(std::string_view text) {
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  const auto address = IpAddress::parse(bracketed ? text.substr(1, text.size() - 2) : text);
  return address && bracketed == (address.value().family == Family::IPv6);
}

}  // namespace

std::string check_number(const std::string& text, unsigned least, unsigned most) {
  const auto number = number_of<unsigned>(text);
  if (number && least <= *number && *number <= most) return "";
  return "'" + text + "': accepted: a whole number from " + std::to_string(least) + " to " + std::to_string(most);
}

std::string check_choice(const std::string& text) {
  for (const char* each : {"true", "yes", "on", "1", "false", "no", "off", "0"})
    if (text == each) return "";
  return "'" + text + "': accepted: true, yes, on or 1; false, no, off or 0";
}

std::string check_uplink(const std::string& text) {
  const auto sign = text.rfind('=');
  if (sign != std::string::npos && sign != 0 && class_of(text.substr(sign + 1))) return "";
  return "uplink '" + text +
         "': accepted: INTERFACE=CLASS, INTERFACE a name that may contain * and ?, CLASS tailnet, lan, overlay or "
         "untrusted";
}

UplinkRule read_uplink(const std::string& text) {
  const auto sign = text.rfind('=');
  return {text.substr(0, sign), class_of(text.substr(sign + 1)).value_or(UplinkClass::Untrusted)};
}

std::string check_prefix(const std::string& text) {
  auto prefix = IpPrefix::parse(text);
  return prefix ? ""
                : "prefix '" + text + "': " + prefix.error().message +
                      "; accepted: an address, or a prefix without host bits, such as 10.42.0.0/16 or fd00:1::/56";
}

std::string check_listen(const std::string& text) {
  if (text == "none") return "";
  const auto colon = text.rfind(':');
  if (colon != std::string::npos && is_listen_address(std::string_view(text).substr(0, colon)) &&
      number_of<std::uint16_t>(std::string_view(text).substr(colon + 1)))
    return "";
  return "listen '" + text + "': accepted: IPv4:PORT, [IPv6]:PORT or none";
}

// An interface that is set down bears it in its alias, which has 255 bytes (agent/attach/interface_mark.h).
constexpr std::size_t kLongestPinRoot = 200;

std::string check_pin_root(const std::string& text) {
  if (text.size() > kLongestPinRoot)
    return "path of " + std::to_string(text.size()) + " bytes: accepted: at most " + std::to_string(kLongestPinRoot);
  return check_absolute_path(text);
}

std::string check_absolute_path(const std::string& text) {
  return text.starts_with('/') ? "" : "path '" + text + "': accepted: an absolute path";
}

std::string check_cri_socket(const std::string& text) {
  return text == kAnyCriSocket || text == kNoCriSocket || text.starts_with('/')
             ? ""
             : "socket '" + text + "': accepted: an absolute path, auto or none";
}

std::string check_node_name(const std::string& text) {
  return is_dns_subdomain(text) ? "" : "node '" + text + "': accepted: " + std::string(kAcceptedDnsSubdomain);
}

std::string check_guest_namespaces(const std::string& text) {
  return is_guest_pattern(text)
             ? ""
             : "guests' namespaces '" + text + "': accepted: " + std::string(kAcceptedGuestNamespaces);
}

std::string check_stamp_mask(const std::string& text) {
  const auto mask = mask_of(text);
  if (!mask) return "stamp mask '" + text + "': accepted: a number of 32 bits, such as 0xff001fff";
  auto stamp = stamp_settings(*mask);
  return stamp ? "" : stamp.error().message;
}

std::uint32_t read_stamp_mask(const std::string& text) { return mask_of(text).value_or(GRANTD_STAMP_MASK_DEFAULT); }

}  // namespace grantd
