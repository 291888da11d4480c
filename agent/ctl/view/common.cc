#include "agent/ctl/view/common.h"

#include "agent/ctl/view/units.h"
#include "agent/plan/encode.h"
#include "crd-sync/destination.h"
#include "crd-sync/problem.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>

#include <cstdio>

namespace grantd {

std::string state_name(grantd_reason standing) { return reason_passes(standing) ? "active" : reason_label(standing); }

Colour state_colour(grantd_reason standing) {
  if (reason_passes(standing)) return Colour::Good;
  return standing == GRANTD_REASON_POLICY_MISSING ? Colour::Bad : Colour::Warning;
}

std::vector<std::string> addresses_of(const grantd_endpoint& endpoint) {
  std::vector<std::string> texts;
  for (const IpAddress& each : used_addresses(endpoint)) texts.push_back(each.text());
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

constexpr std::size_t kRefusalTextBytes = 2048;

std::string refusals_text(const std::vector<ShownRefusal>& shown, std::uint64_t more) {
  std::string text;
  for (const ShownRefusal& each : shown)
    text += (each.refusal.kind == Refusal::Kind::Realm ? "  Realm " : "  ") +
            escape_text(each.refusal.name, kRefusalTextBytes) +
            (each.in_force ? " (what was in force stays): " : ": ") + escape_text(each.refusal.why, kRefusalTextBytes) +
            "\n";
  if (more) text += "  " + std::to_string(more) + " more are in the log\n";
  return text.empty() ? "" : "\nRefused:\n" + text;
}

nlohmann::ordered_json refusals_json(const std::vector<ShownRefusal>& shown, const char* name_field) {
  auto list = nlohmann::ordered_json::array();
  for (const ShownRefusal& each : shown)
    list.push_back({{name_field, each.refusal.name}, {"in_force", each.in_force}, {"message", each.refusal.why}});
  return list;
}

nlohmann::ordered_json moment_json(const Clock& clock, std::uint64_t boot_time_ns) {
  if (boot_time_ns == 0) return nullptr;
  return time_text(clock.wall_of(boot_time_ns));
}

std::string frame_text(std::uint16_t ethertype) {
  switch (ethertype) {
    case 0:
      return "(not read)";  // too short
    case ETH_P_ARP:
      return "ARP";
    case ETH_P_IP:
      return "IPv4";
    case ETH_P_IPV6:
      return "IPv6";
    case ETH_P_8021Q:
    case ETH_P_8021AD:
      return "VLAN";
    default:
      break;
  }
  char text[24];
  std::snprintf(text, sizeof(text), "ethertype 0x%04x", static_cast<unsigned>(ethertype));
  return text;
}

namespace {

std::uint64_t start_of(const Snapshot& snapshot, std::uint32_t slot) {
  return standing(snapshot, slot) == GRANTD_REASON_NOT_YET_VALID ? policy_in_force(snapshot, slot)->not_before_ns : 0;
}

}  // namespace

std::string start_text(const Snapshot& snapshot, std::uint32_t slot) {
  const std::uint64_t start = start_of(snapshot, slot);
  if (start == 0) return "";
  return time_text(snapshot.clock.wall_of(start)) + ", in " + duration_text(start - snapshot.clock.boot_ns);
}

nlohmann::ordered_json start_json(const Snapshot& snapshot, std::uint32_t slot) {
  return moment_json(snapshot.clock, start_of(snapshot, slot));
}

std::string protocol_text(std::uint8_t protocol) {
  if (protocol == 0) return "";
  const char* known = protocol_name(protocol);
  return known ? known : std::to_string(protocol);
}

std::string end_text(const grantd_address& address, std::uint16_t port, std::uint8_t protocol) {
  const IpAddress ip = IpAddress::from_mapped(address);
  if (port == 0 || protocol == IPPROTO_ICMP) return ip.text();
  return (ip.family == Family::IPv6 ? "[" + ip.text() + "]" : ip.text()) + ":" + std::to_string(port);
}

}  // namespace grantd
