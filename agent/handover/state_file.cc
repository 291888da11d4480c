#include "agent/handover/state_file.h"

#include "crd-sync/file_text.h"

#include <cerrno>

namespace grantd {

namespace {

using nlohmann::json;

constexpr int kVersion = 1, kMostDepth = 4;

}  // namespace

Error StateFile::damaged(const std::string& what) const {
  return Error{path_ + ": is damaged: " + what + "; " + way_out_, 0};
}

Result<std::optional<json>> StateFile::read() const {
  auto content = read_whole_file(path_, most_bytes_);
  if (!content && content.error().error_number == ENOENT) return std::optional<json>();
  if (!content) return content.error();
  auto root = parse_json(content.value(), {.values = most_values_, .depth = kMostDepth});
  if (!root || !root->is_object()) return damaged("it is no JSON object");
  if (const json* version = json_member(*root, "version"); version == nullptr || *version != kVersion)
    return damaged("its version is not " + std::to_string(kVersion));
  return root;
}

Result<void> StateFile::write(json content) const {
  content["version"] = kVersion;
  return replace_file(path_, content.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace grantd
