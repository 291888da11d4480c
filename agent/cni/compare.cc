#include "agent/cni/compare.h"

#include <algorithm>

namespace grantd {

namespace {

std::string text_of(const std::optional<MacAddress>& mac) { return mac ? mac->text() : "none"; }

std::string text_of(std::vector<IpAddress> addresses) {
  std::sort(addresses.begin(), addresses.end());
  std::string text;
  for (const IpAddress& each : addresses) text += (text.empty() ? "" : ", ") + each.text();
  return text.empty() ? "none" : text;
}

}  // namespace

std::string differs_from_result(const ResultInterface& result, const std::optional<MacAddress>& mac,
                                const std::vector<IpAddress>& addresses) {
  if (!result.mac.empty()) {
    const auto told = MacAddress::parse(result.mac);
    if (!told || mac != told.value()) return "its MAC is " + text_of(mac) + ", told was " + result.mac;
  }
  for (const IpAddress& each : result.addresses)
    if (!each.is_link_local() && std::find(addresses.begin(), addresses.end(), each) == addresses.end())
      return "it has not the address " + each.text() + " but " + text_of(addresses);
  return "";
}

std::string differs_from_record(const CniRecord& expected, const CniRecord& recorded) {
  const auto at = [](const CniRecord& record) {
    return record.host_interface + ", index " + std::to_string(record.ifindex);
  };
  const auto pod = [](const CniRecord& record) {
    return record.pod_namespace + "/" + record.pod_name + ", uid '" + record.pod_uid + "'";
  };
  struct Pair {
    const char* what;
    std::string expected, recorded;
  };
  for (const Pair& each : {Pair{"pod", pod(expected), pod(recorded)},
                           {"network", expected.network, recorded.network},
                           {"network namespace", expected.netns, recorded.netns},
                           {"host's side", at(expected), at(recorded)},
                           {"MAC", text_of(expected.guest_mac), text_of(recorded.guest_mac)},
                           {"addresses", text_of(expected.addresses), text_of(recorded.addresses)}})
    if (each.expected != each.recorded)
      return std::string(each.what) + ": recorded is " + each.recorded + ", found " + each.expected;
  return "";
}

}  // namespace grantd
