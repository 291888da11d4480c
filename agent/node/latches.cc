#include "agent/node/latches.h"

#include "maps/kernel/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <fstream>
#include <sstream>

namespace grantd {

namespace {

using nlohmann::json;

std::int64_t nanoseconds(WallTime time) { return time.time_since_epoch().count(); }
WallTime wall_time(std::int64_t value) { return WallTime(std::chrono::nanoseconds(value)); }

json times(const std::map<std::string, WallTime>& map) {
  json object = json::object();
  for (const auto& [key, time] : map) object[key] = nanoseconds(time);
  return object;
}

std::map<std::string, WallTime> times(const json& object) {
  std::map<std::string, WallTime> map;
  for (const auto& [key, time] : object.items()) map[key] = wall_time(time.get<std::int64_t>());
  return map;
}

}  // namespace

Result<Latches> LatchFile::load() const {
  std::ifstream file(path_);
  if (!file) {
    if (errno == ENOENT) return Latches{};
    return system_error("cannot read " + path_, errno);
  }
  std::ostringstream text;
  text << file.rdbuf();
  try {
    const json root = json::parse(text.str());
    Latches latches;
    latches.highest_seen = wall_time(root.at("highestSeen").get<std::int64_t>());
    latches.revoked_at = times(root.at("revokedAt"));
    latches.notice_ends = times(root.at("noticeEnds"));
    latches.expired = root.at("expired").get<std::map<std::string, std::string>>();
    return latches;
  } catch (const json::exception& exception) {
    return Error{path_ + ": is damaged: " + exception.what() + "; remove it once the clock is known to be right", 0};
  }
}

Result<void> LatchFile::save(const Latches& latches) const {
  const json root = {{"highestSeen", nanoseconds(latches.highest_seen)},
                     {"revokedAt", times(latches.revoked_at)},
                     {"noticeEnds", times(latches.notice_ends)},
                     {"expired", latches.expired}};
  const std::string text = root.dump(2) + "\n";
  const std::string fresh = path_ + ".new";
  Descriptor file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return system_error("cannot write " + fresh, errno);
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(file.get()) != 0)
    return system_error("cannot write " + fresh, errno);
  if (rename(fresh.c_str(), path_.c_str()) != 0) return system_error("cannot rename to " + path_, errno);
  return {};
}

}  // namespace grantd
