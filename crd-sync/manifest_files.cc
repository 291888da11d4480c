#include "crd-sync/manifest_files.h"

#include "crd-sync/canonical.h"
#include "crd-sync/file_text.h"
#include "crd-sync/manifest_parts.h"
#include "crd-sync/names.h"
#include "crd-sync/problem.h"
#include "crd-sync/yaml_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

namespace grantd {
namespace {

constexpr const char* kAcceptedNames = "NAME.yaml, NAME.yml or NAME.json";
constexpr const char* kAcceptedObjects = "YAML or JSON with objects of keystone.io";

std::string accepted_file() {
  return "a file of at most " + std::to_string(YamlLimits{}.bytes) + " bytes that can be read, with a printable name";
}

constexpr std::size_t kUnreadTold = 16;        // who puts many there knows by the first
constexpr std::size_t kMaxDocuments = 20'000;  // of a file; each costs memory

// Names go into messages and into the file of last good objects, one a line.
bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<unsigned char>(byte) >= ' ' && byte != 0x7f; });
}

ReadResult warning_of(const std::string& path, const std::string& what, const std::string& accepted) {
  ReadResult result;
  result.path = path;
  result.problems.push_back(problem_at(Severity::Warning, path, what, accepted));
  return result;
}

bool is_link(const std::string& path) {
  struct stat about {};
  return lstat(path.c_str(), &about) == 0 && S_ISLNK(about.st_mode);
}

// Unlike a name, a size or a kind of file, whose change is an event.
bool can_change_by_itself(int error_number) {
  return error_number != 0 && error_number != EINVAL && error_number != EFBIG;
}

}  // namespace

bool is_manifest_name(std::string_view name) {
  if (name.starts_with('.') || name.starts_with('#')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

std::vector<Problem> unread_files(const std::string& directory) {
  std::vector<Problem> told;
  std::size_t more = 0;
  const auto tell = [&](std::string name, const char* what) {
    const Problem problem = problem_at(Severity::Warning, directory + "/" + name, what, kAcceptedNames);
    told.size() < kUnreadTold ? told.push_back(problem) : void(more++);
  };
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (is_left_behind(name)) continue;
    std::error_code unknown;
    if (entry->is_directory(unknown)) {
      const auto inside = list_manifests(entry->path().string());
      if (inside && !inside.value().empty()) tell(escape_text(name), "holds manifests, and directories are not read");
    } else if (!is_manifest_name(name) && name.find('.') != std::string::npos && !name.ends_with(".md")) {
      tell(escape_text(name), "is not read, for its name");
    }
  }
  std::sort(told.begin(), told.end(),
            [](const Problem& one, const Problem& other) { return one.text() < other.text(); });
  if (more)
    told.push_back(problem_at(Severity::Warning, directory,
                              std::to_string(more) + " more files are not read, for their names", kAcceptedNames));
  // That a directory cannot be read is list_manifests' to say.
  return told;
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

std::vector<std::string> linked_manifests(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error, unknown;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (is_manifest_name(name) && entry->is_symlink(unknown)) names.push_back(std::move(name));
  }
  return names;
}

ManifestCache::Parts ManifestCache::read_parts(const std::string& path, const std::string& text, Parts known,
                                               Results& results) {
  Parts fresh;
  const auto parts = split_manifest(text);
  if (parts.size() > kMaxDocuments || text.find_first_not_of(" \t\r\n") == std::string::npos) {
    // A full disk leaves empty files behind, and so does an editor in the middle of saving.
    results.push_back(std::make_shared<const ReadResult>(
        parts.size() > kMaxDocuments
            ? unreadable_manifest(path, "has more than " + std::to_string(kMaxDocuments) + " documents",
                                  "at most " + std::to_string(kMaxDocuments) + " documents in a file")
            : unreadable_manifest(path, "is empty; delete the file if its objects are to go", kAcceptedObjects)));
    return fresh;
  }
  for (const ManifestPart& part : parts) {
    const std::pair key{part.text.size(), hash_text(part.text)};
    const auto found = known.find(key);
    std::shared_ptr<const ReadResult> result;
    if (found == known.end()) {
      result = std::make_shared<const ReadResult>(
          read_manifests({path, std::string(part.text), part.first_document, part.first_line}));
    } else {
      const Part& before = found->second;
      result = before.result;
      if (before.document != part.first_document || before.line != part.first_line)
        result = std::make_shared<const ReadResult>(
            moved(*result, part.first_document - before.document, part.first_line - before.line));
      known.erase(found);
    }
    results.push_back(result);
    fresh.emplace(key, Part{part.first_document, part.first_line, std::move(result)});
  }
  return fresh;
}

// Of a file whose documents are all empty. Unlike an empty file it was written so, and counts.
bool holds_nothing(const ManifestCache::Results& results, std::size_t from) {
  return std::all_of(results.begin() + static_cast<std::ptrdiff_t>(from), results.end(), [](const auto& each) {
    return each->parsed && each->all_known && each->objects.empty() && each->refused.empty() && each->problems.empty();
  });
}

// While a file cannot be read, the addresses of its realms stay apart from the wider realms' around them. Which of
// these realms are in force nobody need know: their own prefixes stay theirs.
ReadResult named_before(const std::string& path, const ManifestCache::Results& before) {
  ReadResult named;
  named.path = path;
  named.parsed = false;
  for (const auto& each : before) add_named(*each, named.apart);
  return named;
}

ManifestCache::Results ManifestCache::read(const std::vector<std::string>& paths, bool as_it_is) {
  std::map<std::string, Parts> fresh;
  std::map<std::string, Results> parsed;
  Results results;
  read_again_ = false;
  for (const std::string& path : paths) {
    if (fresh.contains(path)) continue;  // named twice
    const auto unreadable = [&](const std::string& why) {
      results.push_back(std::make_shared<const ReadResult>(unreadable_manifest(path, why, accepted_file())));
    };
    const std::size_t before = results.size();
    const auto read_file = as_it_is ? read_whole_file : read_finished_file;
    const auto text =
        is_printable(path) ? read_file(path, YamlLimits{}.bytes) : Error{"has control characters in its name", EINVAL};
    if (text) {
      fresh[path] = read_parts(path, text.value(), std::move(known_[path]), results);
      if (holds_nothing(results, before))
        results.push_back(std::make_shared<const ReadResult>(
            warning_of(path, "holds no object; what it held before has ended", kAcceptedObjects)));
    } else if (text.error().error_number == EAGAIN) {
      read_again_ = true;
      // Not parsed: what it held stays.
      ReadResult written = warning_of(path, "is being written; what was in force of it stays until it is closed", "");
      written.parsed = false;
      results.push_back(std::make_shared<const ReadResult>(std::move(written)));
    } else if (text.error().error_number != ENOENT) {
      read_again_ = read_again_ || can_change_by_itself(text.error().error_number);
      unreadable(text.error().message);
    } else if (is_link(path)) {
      read_again_ = true;  // of a mount that brings the file no event tells
      results.push_back(std::make_shared<const ReadResult>(
          warning_of(path, "leads to a file that is not there; what it held before has ended", accepted_file())));
    }
    const auto here = results.begin() + static_cast<std::ptrdiff_t>(before);
    if (std::all_of(here, results.end(), [](const auto& each) { return each->parsed; })) {
      parsed[path] = Results(here, results.end());
    } else if (const auto last = parsed_.find(path); last != parsed_.end()) {
      results.push_back(std::make_shared<const ReadResult>(named_before(path, last->second)));
      parsed[path] = std::move(last->second);
    }
  }
  known_ = std::move(fresh);
  parsed_ = std::move(parsed);
  return results;
}

}  // namespace grantd
