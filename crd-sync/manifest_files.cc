#include "crd-sync/manifest_files.h"

#include "crd-sync/canonical.h"
#include "crd-sync/file_text.h"
#include "crd-sync/yaml_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

namespace grantd {
namespace {

// Names go into messages and into the file of last good objects, one a line.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<unsigned char>(byte) >= ' ' && byte != 0x7f; });
}

bool is_gone(const std::string& path) {
  struct stat about {};
  return lstat(path.c_str(), &about) != 0 && errno == ENOENT;
}

}  // namespace

bool is_manifest_name(std::string_view name) {
  if (name.starts_with('.') || name.starts_with('#')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Result<std::vector<std::string>> list_manifests(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_manifest_name(name)) paths.push_back(directory + "/" + name);
  }
  if (error) return system_error("read the directory " + directory, error.value());
  std::sort(paths.begin(), paths.end());
  return paths;
}

ManifestCache::Entry ManifestCache::read_one(const std::string& path, const std::string& text) {
  const std::uint64_t hash = hash_text(text);
  const auto known = known_.find(path);
  if (known != known_.end() && known->second.bytes == text.size() && known->second.hash == hash)
    return std::move(known->second);
  return {text.size(), hash, std::make_shared<const ReadResult>(read_manifests({path, text}))};
}

std::vector<std::shared_ptr<const ReadResult>> ManifestCache::read(const std::vector<std::string>& paths) {
  std::map<std::string, Entry> fresh;
  std::vector<std::shared_ptr<const ReadResult>> results;
  const auto unreadable = [&results](const std::string& path, const std::string& why) {
    results.push_back(std::make_shared<const ReadResult>(unreadable_manifest(path, why)));
  };
  for (const std::string& path : paths) {
    if (fresh.contains(path)) continue;  // named twice
    if (!is_printable(path)) {
      unreadable(path, "has control characters in its name");
      continue;
    }
    const auto text = read_whole_file(path, YamlLimits{}.bytes);
    if (text) {
      results.push_back((fresh[path] = read_one(path, text.value())).result);
    } else if (text.error().error_number != ENOENT || !is_gone(path)) {
      unreadable(path, text.error().message);
    }
  }
  known_ = std::move(fresh);
  return results;
}

}  // namespace grantd
