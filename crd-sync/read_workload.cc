#include "crd-sync/names.h"
#include "crd-sync/read_object.h"
#include "maps/abi/limits.h"

#include <algorithm>

namespace grantd {
namespace {

constexpr std::string_view kAcceptedAddress =
    "unicast addresses of the guest without a prefix length, each once, at most 4 of each family and one link-local "
    "IPv6 address";
constexpr std::string_view kAcceptedInterface = "the host's side of an interface that only this guest uses";
constexpr std::string_view kAcceptedGrant = "NAME or NAMESPACE/NAME of a Grant";
constexpr std::string_view kAcceptedCgroup =
    "a path below the cgroup v2 root, like machine.slice/bob.scope, without . and ..";

// What speaks against an address as a guest's own; "" for nothing.
std::string objection(const IpAddress& address) {
  const auto& bytes = address.bytes;
  if (address.family == Family::IPv4) {
    if (bytes[0] == 0 || bytes[0] == 127 || bytes[0] >= 224) return "is no unicast address";
    if (bytes[0] == 169 && bytes[1] == 254) return "is link-local, which IPv4 guests cannot use";
    return "";
  }
  if (bytes[0] == 0xff) return "is no unicast address";
  const bool zeros = std::all_of(bytes.begin(), bytes.begin() + 10, [](std::uint8_t byte) { return byte == 0; });
  return zeros ? "is no unicast address" : "";  // ::, ::1 and IPv4 written as IPv6
}

void read_addresses(Fields& spec, Workload& workload, ObjectProblems& problems) {
  const auto texts = spec.texts("addresses");
  if (!texts) return;
  int version4 = 0, version6 = 0, link_local = 0;
  // Of those that are too many the first is told.
  const auto one_too_many = [](int count, int most, const char* what, std::string& wrong) {
    if (count == most + 1) wrong = what;
    return count > most + 1;
  };
  for (const TextField& text : *texts) {
    const auto address = IpAddress::parse(text.text);
    std::string wrong = address.ok() ? objection(address.value()) : address.error().message;
    if (wrong.empty()) {
      auto& known = workload.addresses;
      if (std::find(known.begin(), known.end(), address.value()) != known.end()) wrong = "is there twice";
      const bool told = address.value().is_link_local()
                            ? one_too_many(++link_local, 1, "is a second link-local address", wrong)
                        : address.value().family == Family::IPv4
                            ? one_too_many(++version4, GRANTD_IPV4_PER_ENDPOINT, "is one IPv4 address too many", wrong)
                            : one_too_many(++version6, GRANTD_IPV6_PER_ENDPOINT, "is one IPv6 address too many", wrong);
      if (told) continue;
    }
    if (wrong.empty()) {
      workload.addresses.push_back(address.value());
      workload.address_lines.push_back(text.line);
    } else {
      problems.error(text, wrong, kAcceptedAddress);
    }
  }
}

void read_grant_name(Fields& spec, Workload& workload, ObjectProblems& problems) {
  const auto grant = spec.required_text("grantName", kAcceptedGrant);
  if (!grant) return;
  const std::size_t slash = grant->text.find('/');
  const bool named = slash != std::string::npos;
  const std::string space = named ? grant->text.substr(0, slash) : std::string(kDefaultNamespace);
  const std::string name = named ? grant->text.substr(slash + 1) : grant->text;
  if (!is_dns_label(space) || !is_dns_subdomain(name)) problems.error(*grant, "is no Grant's name", kAcceptedGrant);
  workload.grant = space + "/" + name;
  workload.grant_line = grant->line;
}

bool is_cgroup_path(std::string_view path) {
  if (path.size() > 4000) return false;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    const bool printable = std::all_of(part.begin(), part.end(), [](char byte) { return byte >= ' ' && byte != 0x7f; });
    if (part.empty() || part == "." || part == ".." || part.size() > 255 || !printable) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

void read_mac(Fields& spec, Workload& workload, ObjectProblems& problems) {
  const auto text = spec.text("mac");
  if (!text) return;
  workload.mac_line = text->line;
  const auto mac = MacAddress::parse(text->text);
  const bool unicast = mac.ok() && (mac.value().bytes[0] & 1) == 0 && mac.value() != MacAddress{};
  if (unicast)
    workload.mac = mac.value();
  else
    problems.error(*text, mac.ok() ? "is no unicast address" : mac.error().message,
                   "aa:bb:cc:dd:ee:ff of the guest's side");
}

}  // namespace

Workload read_workload(Fields& spec, ObjectProblems& problems) {
  Workload workload;
  read_grant_name(spec, workload, problems);
  const auto interface = spec.text("interface");
  const auto cgroup = spec.text("cgroup");
  if (interface) {
    workload.interface = interface->text;
    workload.interface_line = interface->line;
    if (!is_interface_name(interface->text))
      problems.error(*interface, "is no interface's name", "1 to 15 printable characters without /, : and blanks");
    else if (interface->text == "lo")
      problems.error(*interface, "is the loopback interface", kAcceptedInterface);
  }
  if (cgroup) {
    workload.cgroup = cgroup->text;
    workload.cgroup_line = cgroup->line;
    if (workload.cgroup.starts_with('/')) workload.cgroup.erase(0, 1);  // as /proc/PID/cgroup writes it
    if (!is_cgroup_path(workload.cgroup)) problems.error(*cgroup, "is no cgroup's path", kAcceptedCgroup);
  }
  const bool has_interface = spec.take("interface") != nullptr, has_cgroup = spec.take("cgroup") != nullptr;
  if (!has_interface && !has_cgroup)
    problems.error(spec.line(), spec.path("interface"), "", "is missing",
                   "the host's side of the guest's link; for a guest on the host network a cgroup instead");
  read_addresses(spec, workload, problems);
  read_mac(spec, workload, problems);
  const bool reachable = std::any_of(workload.addresses.begin(), workload.addresses.end(),
                                     [](const IpAddress& address) { return !address.is_link_local(); });
  if (has_interface && !reachable && problems.errors() == 0) {
    const YamlNode* addresses = spec.take("addresses");
    problems.error(addresses ? addresses->line : spec.line(), spec.path("addresses"), "",
                   "names no address of the guest", kAcceptedAddress);
  }
  spec.finish();
  return workload;
}

}  // namespace grantd
