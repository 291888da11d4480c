#include "agent/ctl/view/page.h"

#include <nlohmann/json.hpp>

namespace grantd {

using Handler = nlohmann::ordered_json::error_handler_t;

std::string json_text(const nlohmann::ordered_json& document) {
  return document.dump(2, ' ', false, Handler::replace) + "\n";
}

std::string json_line(const nlohmann::ordered_json& document) {
  return document.dump(-1, ' ', false, Handler::replace) + "\n";
}

}  // namespace grantd
