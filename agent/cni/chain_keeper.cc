#include "agent/cni/chain_keeper.h"

#include "crd-sync/file_text.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace grantd {

namespace {

constexpr std::size_t kMaxPlugin = 64 << 20, kMaxConfiguration = 1 << 20, kMaxFiles = 1'000;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * kNanoseconds + time.tv_nsec; }

Result<void> remove_file(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) return system_error("remove " + path, errno);
  return {};
}

}  // namespace

Result<ChainKeeper> ChainKeeper::open(ChainPlace place) {
  auto configuration = DirectoryWatch::open(place.conf_dir);
  if (!configuration) return configuration.error();
  auto programs = DirectoryWatch::open(place.bin_dir);
  if (!programs) return programs.error();
  return ChainKeeper(std::move(place), std::move(configuration).value(), std::move(programs).value());
}

std::vector<int> ChainKeeper::fds() const {
  return {configuration_.events_fd(), configuration_.settle_fd(), programs_.events_fd(), programs_.settle_fd()};
}

bool ChainKeeper::drain() {
  const bool configuration = configuration_.drain(), programs = programs_.drain();
  return configuration || programs;
}

ChainKeeper::Done ChainKeeper::keep() {
  Done done;
  problems_.clear();
  (void)configuration_.renew().ok();
  (void)programs_.renew().ok();
  const bool plugin = keep_plugin(done);
  // Without the plugin no pod would start behind a configuration that names it, so none is written; one that is there
  // stays, because without it guests would be open.
  const bool usable = plugin || access((place_.bin_dir + "/" + kCniPlugin).c_str(), X_OK) == 0;
  const bool chain = usable && keep_chain(done);
  in_place_ = plugin && chain;
  restored_ += done.restored.size();
  return done;
}

void ChainKeeper::report(const Error& error) {
  problems_.push_back(
      problem_at(Severity::Error, place_.conf_dir, "grantd-cni is not kept in the chain: " + error.message));
}

std::optional<ChainKeeper::Identity> ChainKeeper::identity_of(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return std::nullopt;
  return Identity{about.st_dev, about.st_ino, static_cast<std::uint64_t>(about.st_size), nanoseconds(about.st_mtim),
                  nanoseconds(about.st_ctim)};
}

bool ChainKeeper::keep_plugin(Done& done) {
  const std::string copy = place_.bin_dir + "/" + kCniPlugin;
  const auto source_now = identity_of(place_.plugin), copy_now = identity_of(copy);
  if (source_now && copy_now && source_now == source_ && copy_now == copy_) return true;
  auto wanted = read_whole_file(place_.plugin, kMaxPlugin);
  if (!wanted) {
    report(wanted.error());
    return false;
  }
  const auto there = read_whole_file(copy, kMaxPlugin);
  const bool same = there && there.value() == wanted.value() && access(copy.c_str(), X_OK) == 0;
  if (!same) {
    if (auto written = replace_file(copy, wanted.value(), 0755); !written) {
      report(written.error());
      return false;
    }
    const bool ours_changed = source_ == source_now && copy_.has_value();
    (ours_changed ? done.restored : done.followed).push_back(copy + (there ? " was not ours" : " was missing"));
  }
  source_ = source_now;
  copy_ = identity_of(copy);
  return true;
}

Result<ConfFiles> ChainKeeper::read_configuration() const {
  ConfFiles files;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(place_.conf_dir, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (!is_conf_name(name)) continue;
    if (files.size() == kMaxFiles)
      return Error{place_.conf_dir + ": holds more than " + std::to_string(kMaxFiles) + " files"};
    files.emplace(name, read_whole_file(entry->path().string(), kMaxConfiguration));
  }
  if (failed) return system_error("list " + place_.conf_dir, failed.value());
  return files;
}

bool ChainKeeper::keep_chain(Done& done) {
  auto files = read_configuration();
  if (!files) {
    report(files.error());
    return false;
  }
  Chain chain = make_chain(files.value(), place_.settings);
  for (Problem& each : chain.problems) {
    const std::string& name = each.position.file.text();
    each.position.file = name.empty() ? place_.conf_dir : place_.conf_dir + "/" + name;
    problems_.push_back(std::move(each));
  }
  const auto there = files.value().find(kChainFile);
  const std::string found = there != files.value().end() && there->second ? there->second.value() : "";
  if (kept_.empty() && is_our_chain(found)) kept_ = found;  // of an earlier agent
  // Where there is nothing to follow, or what was followed is not whole, what was right stays: it is about to be
  // written, and meanwhile no pod shall come into another network.
  const bool unsure =
      from_.empty() ? !chain.invalid.empty() && *chain.invalid.begin() < chain.from : chain.invalid.contains(from_);
  const std::string wanted = chain.text.empty() || (unsure && !kept_.empty()) ? kept_ : chain.text;
  if (wanted.empty()) return false;
  const std::string path = place_.conf_dir + "/" + kChainFile;
  if (found != wanted) {
    if (auto written = replace_file(path, wanted); !written) {
      report(written.error());
      return false;
    }
    if (found == kept_)
      done.followed.push_back(path + " follows " + chain.from);
    else
      done.restored.push_back(path + (found.empty() ? " was missing" : " was changed"));
  }
  if (wanted == chain.text) from_ = chain.from;
  kept_ = wanted;
  return !chain.overtaken;
}

Result<void> remove_chain(const std::string& conf_dir, const std::string& bin_dir) {
  for (const std::string& path : {conf_dir + "/" + kChainFile, bin_dir + "/" + kCniPlugin})
    for (const char* suffix : {"", ".new"})
      if (auto removed = remove_file(path + suffix); !removed) return removed;
  return {};
}

}  // namespace grantd
