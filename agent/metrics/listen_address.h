// "127.0.0.1:9786", "[::1]:9786".
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

struct ListenAddress {
  std::string host;  // an address, without brackets
  int port = 0;      // 0: any
};

Result<ListenAddress> parse_listen_address(const std::string& text);

}  // namespace grantd
