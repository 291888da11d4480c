#include "agent/metrics/listen_address.h"

#include "maps/address.h"

#include <charconv>

namespace grantd {

Result<ListenAddress> parse_listen_address(const std::string& text) {
  const Error refused{"listen address " + text + "; accepted: ADDRESS:PORT or [IPv6]:PORT", 0};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return refused;
  std::string host = text.substr(0, colon);
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  if (!address || brackets != (address.value().family == Family::IPv6)) return refused;
  ListenAddress result{host, -1};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, result.port);
  if (error != std::errc() || stop != end || result.port < 0 || result.port > 65535) return refused;
  return result;
}

}  // namespace grantd
