// JSON that others sent: within bounds, and the same when it is written and read again.
#include "crd-sync/api/json.h"
#include "tests/fuzz/must.h"

#include <string>

using namespace grantd;

namespace {

int depth_of(const nlohmann::json& value) {
  int deepest = 0;
  for (const auto& each : value)
    if (each.is_structured()) deepest = std::max(deepest, depth_of(each));
  return deepest + 1;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const JsonLimits limits{1000, 16};
  const auto value = parse_json({reinterpret_cast<const char*>(data), size}, limits);
  if (!value) return 0;
  must(!value->is_structured() || depth_of(*value) <= limits.depth, "no deeper than allowed");
  const std::string text = dump_json(*value);
  must(text.find('\n') == std::string::npos, "on one line");
  const auto again = parse_json(text, limits);
  must(again && dump_json(*again) == text, "what is written is read again");
  return 0;
}
