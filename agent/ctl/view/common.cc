#include "agent/ctl/view/common.h"

#include "agent/ctl/view/units.h"
#include "maps/address.h"

#include <nlohmann/json.hpp>

#include <cstring>

namespace grantd {

std::string state_name(grantd_reason standing) { return reason_passes(standing) ? "active" : reason_label(standing); }

Colour state_colour(grantd_reason standing) {
  if (reason_passes(standing)) return Colour::Good;
  return standing == GRANTD_REASON_POLICY_MISSING ? Colour::Bad : Colour::Warning;
}

std::vector<std::string> addresses_of(const grantd_endpoint& endpoint) {
  std::vector<std::string> texts;
  for (const __u32 ipv4 : endpoint.ipv4) {
    if (ipv4 == 0) continue;
    IpAddress address;
    std::memcpy(address.bytes.data(), &ipv4, sizeof(ipv4));
    texts.push_back(address.text());
  }
  for (const grantd_address& ipv6 : endpoint.ipv6) {
    IpAddress address;
    address.family = Family::IPv6;
    std::memcpy(address.bytes.data(), ipv6.bytes, sizeof(ipv6.bytes));
    if (address != IpAddress{Family::IPv6, {}}) texts.push_back(address.text());
  }
  return texts;
}

std::string joined(const std::vector<std::string>& texts, const char* between) {
  std::string result;
  for (const std::string& text : texts) result += (result.empty() ? "" : between) + text;
  return result;
}

std::string position_text(const std::string& file, std::uint32_t line) {
  return file.empty() ? "" : file + ":" + std::to_string(line);
}

nlohmann::ordered_json moment_json(const Clock& clock, std::uint64_t boot_time_ns) {
  if (boot_time_ns == 0) return nullptr;
  return time_text(clock.wall_of(boot_time_ns));
}

}  // namespace grantd
