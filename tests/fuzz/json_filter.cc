// JSON that is filtered while it comes: refused as without the filter, and the same however it is cut.
#include "crd-sync/api/json_filter.h"
#include "tests/fuzz/must.h"

#include <algorithm>
#include <optional>
#include <string_view>

using namespace grantd;

namespace {

constexpr JsonFilterLimits kLimits{40, 5, 64};

std::optional<std::string> filtered(const std::shared_ptr<const KeptMembers>& kept, std::string_view text,
                                    std::size_t piece) {
  JsonFilter filter(kept, kLimits);
  for (std::size_t at = 0; at < text.size(); at += piece)
    if (!filter.push(text.substr(at, piece))) return std::nullopt;
  if (!filter.finish()) return std::nullopt;
  return filter.text();
}

std::shared_ptr<const KeptMembers> some_members() {
  KeptMembers element, kept;
  element.keep({"a"});
  kept.keep({"a"});
  kept.keep({"b", "a"});
  kept.members["c"].each = {element};
  return std::make_shared<const KeptMembers>(kept);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const auto kept = some_members();
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  // Of these nlohmann's reader has ideas of its own: an end, and a mark of the order of bytes.
  if (text.find('\0') != text.npos || text.starts_with("\xef\xbb\xbf")) return 0;
  const auto whole = filtered(kept, text, text.size()), pieces = filtered(kept, text, data[0] % 16 + 1U);
  must(whole == pieces, "the same, however it is cut");
  const bool accepted = nlohmann::json::accept(text);
  must(!whole || accepted || text.find_first_of("eE") != text.npos || size > 300, "only JSON, or a number too large");
  must(whole || !accepted || std::count(text.begin(), text.end(), '[') + std::count(text.begin(), text.end(), '{') > 64,
       "all JSON but what is too deep");
  if (whole && accepted) must(nlohmann::json::accept(*whole), "what is kept is JSON");
  return 0;
}
