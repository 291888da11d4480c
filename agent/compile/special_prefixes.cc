#include "agent/compile/special_prefixes.h"

#include <cassert>

namespace grantd {

namespace {

IpPrefix prefix(const char* text) {
  auto parsed = IpPrefix::parse(text);
  assert(parsed.ok());
  return parsed.value();
}

std::vector<InternetPrefix> make_internet() {
  std::vector<InternetPrefix> all;
  for (const char* text : {"0.0.0.0/0", "2000::/3"}) all.push_back({prefix(text), true});
  for (const char* text :
       {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"})
    all.push_back({prefix(text), false});
  for (const char* text : {"192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128",
                           "2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28"})
    all.push_back({prefix(text), true});
  return all;
}

}  // namespace

const std::vector<IpPrefix>& always_protected() {
  static const std::vector<IpPrefix> all = {prefix("127.0.0.0/8"), prefix("169.254.0.0/16"), prefix("::1/128"),
                                            prefix("fe80::/10")};
  return all;
}

const std::vector<InternetPrefix>& internet_prefixes() {
  static const std::vector<InternetPrefix> all = make_internet();
  return all;
}

bool is_tailnet_prefix(const IpPrefix& candidate) {
  static const IpPrefix ipv4 = prefix("100.64.0.0/10"), ipv6 = prefix("fd7a:115c:a1e0::/48");
  return ipv4.contains(candidate) || ipv6.contains(candidate);
}

}  // namespace grantd
