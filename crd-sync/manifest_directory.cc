#include "crd-sync/manifest_directory.h"

#include "crd-sync/admission.h"
#include "crd-sync/directory_watch.h"
#include "crd-sync/manifest_files.h"
#include "crd-sync/manifest_look.h"

#include <filesystem>
#include <optional>
#include <utility>

namespace grantd {

struct ManifestDirectory::Parts {
  std::string path;
  std::vector<IpPrefix> protected_ranges;
  DirectoryWatch watch;
  std::unique_ptr<ManifestLook> look;
  ManifestCache cache{};
  std::optional<LastGoodFile> file{};  // none: no state directory
  LastGood last_good{};
  std::vector<Problem> at_start{};  // reported with every load
  bool to_keep = false;             // last_good may differ from the file
  bool had_manifests = false;       // as far as is remembered
};

namespace {

constexpr std::chrono::seconds kLookAgain{1};
constexpr const char* kAcceptedDirectory = "a directory that can be read";

}  // namespace

Result<ManifestDirectory> ManifestDirectory::open(const std::string& path, const std::string& state_directory,
                                                  std::vector<IpPrefix> protected_ranges) {
  // Found out now, so that a mistyped path is told apart from a directory that vanishes later.
  if (auto listed = list_manifests(path); !listed) return listed.error();
  auto watch = DirectoryWatch::open(path, DirectoryWatch::Links::Followed);
  if (!watch) return watch.error();
  auto look = ManifestLook::open(path);
  if (!look) return look.error();
  auto parts = std::make_unique<Parts>(
      Parts{path, std::move(protected_ranges), std::move(watch).value(), std::move(look).value()});
  if (!state_directory.empty()) {
    parts->file.emplace(state_directory);
    auto kept = parts->file->load();
    if (kept)
      parts->last_good = std::move(kept).value();
    else
      parts->at_start.push_back(
          problem_at(Severity::Warning, state_directory, "the last good manifests are lost: " + kept.error().message));
    parts->had_manifests = !parts->last_good.empty();
  }
  return ManifestDirectory(std::move(parts));
}

ManifestDirectory::ManifestDirectory(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ManifestDirectory::ManifestDirectory(ManifestDirectory&&) noexcept = default;
ManifestDirectory& ManifestDirectory::operator=(ManifestDirectory&&) noexcept = default;
ManifestDirectory::~ManifestDirectory() = default;

std::string ManifestDirectory::place() const { return parts_->path; }

std::optional<DesiredState> ManifestDirectory::load() {
  const auto watched = parts_->watch.renew();
  parts_->look->before_reading();
  std::vector<std::shared_ptr<const ReadResult>> reads;
  auto paths = list_manifests(parts_->path);
  if (paths)
    reads = parts_->cache.read(paths.value());
  else
    reads.push_back(std::make_shared<const ReadResult>(
        unreadable_manifest(parts_->path, paths.error().message, kAcceptedDirectory)));
  // A close is an event, but not where it was opened by a path outside of the directory; that a disk can be read
  // again, or memory be had, is none. A change that nobody looks for again would never be in force.
  const bool unlisted = !paths && paths.error().error_number != ENOENT;
  if (unlisted || parts_->cache.read_again()) parts_->watch.look_again(kLookAgain);
  Admitted admitted = admit(reads, parts_->last_good, parts_->protected_ranges);
  parts_->last_good = std::move(admitted.last_good);
  auto& problems = admitted.desired.problems;
  problems.insert(problems.begin(), parts_->at_start.begin(), parts_->at_start.end());
  const auto unread = unread_files(parts_->path);
  problems.insert(problems.end(), unread.begin(), unread.end());
  if (!watched)
    problems.push_back(problem_at(Severity::Warning, parts_->path,
                                  "is read every second, for it cannot be watched: " + watched.error().message));
  // As it looks where a mount went away or somebody made the directory anew; and as an administrator may mean it.
  if (paths && paths.value().empty() && parts_->had_manifests)
    problems.push_back(problem_at(Severity::Warning, parts_->path,
                                  "holds no manifest any more: every Grant that it held has ended, and its guests are "
                                  "in quarantine"));
  if (paths && !paths.value().empty()) parts_->had_manifests = true;
  parts_->to_keep = parts_->file.has_value();
  return std::move(admitted.desired);
}

std::optional<Problem> ManifestDirectory::keep() {
  if (!parts_->to_keep) return std::nullopt;
  const auto saved = parts_->file->save(parts_->last_good);
  if (!saved)
    return problem_at(Severity::Warning, parts_->path,
                      "the last good manifests are not kept: " + saved.error().message);
  parts_->to_keep = false;
  return std::nullopt;
}

std::vector<int> ManifestDirectory::fds() const {
  return {parts_->watch.events_fd(), parts_->watch.settle_fd(), parts_->look->fd()};
}

bool ManifestDirectory::drain() {
  const bool found = parts_->look->drain();
  return parts_->watch.drain() || found;
}

void ManifestDirectory::look() { parts_->look->begin(); }

DesiredState load_manifests(const std::vector<std::string>& paths, const std::vector<IpPrefix>& protected_ranges) {
  std::vector<std::string> files;
  std::vector<std::shared_ptr<const ReadResult>> missing;
  std::vector<Problem> unread;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      if (!std::filesystem::exists(path, error))
        missing.push_back(std::make_shared<const ReadResult>(
            unreadable_manifest(path, "is not there", "a file or a directory that is there")));
      else
        files.push_back(path);
      continue;
    }
    for (Problem& each : unread_files(path)) unread.push_back(std::move(each));
    auto listed = list_manifests(path);
    if (listed)
      files.insert(files.end(), listed.value().begin(), listed.value().end());
    else
      missing.push_back(
          std::make_shared<const ReadResult>(unreadable_manifest(path, listed.error().message, kAcceptedDirectory)));
  }
  ManifestCache cache;
  auto reads = cache.read(files, true);
  reads.insert(reads.end(), missing.begin(), missing.end());
  DesiredState desired = admit(reads, {}, protected_ranges).desired;
  desired.problems.insert(desired.problems.end(), unread.begin(), unread.end());
  return desired;
}

}  // namespace grantd
