#include "agent/node/latches.h"

#include "crd-sync/file_text.h"

#include <cerrno>
#include <nlohmann/json.hpp>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 16 << 20;
constexpr const char* kHighestSeen = "highestSeen";
constexpr const char* kTrustedOffset = "trustedOffset";
constexpr const char* kRevokedAt = "revokedAt";
constexpr const char* kNoticeEnds = "noticeEnds";
constexpr const char* kExpired = "expired";

json nanoseconds(WallTime time) { return time.time_since_epoch().count(); }

json nanoseconds(const std::map<std::string, WallTime>& times) {
  json object = json::object();
  for (const auto& [key, time] : times) object[key] = nanoseconds(time);
  return object;
}

// Reads what nanoseconds() wrote, and nothing else. What is wrong is kept, the first only.
class Reader {
 public:
  explicit Reader(const json& root) : root_(root) {
    if (!root.is_object()) {
      fail("it is no object");
      return;
    }
    for (const auto& [name, value] : root.items())
      if (name != kHighestSeen && name != kTrustedOffset && name != kRevokedAt && name != kNoticeEnds &&
          name != kExpired)
        fail("'" + name + "' has no place in it");
  }

  WallTime time(const char* name) { return time(name, member(name)); }

  std::optional<std::uint64_t> offset(const char* name) {
    if (!root_.is_object() || !root_.contains(name)) return std::nullopt;
    const json& value = root_[name];
    if (!value.is_number_unsigned()) fail("'" + std::string(name) + "' is no number of nanoseconds");
    return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  }

  std::map<std::string, WallTime> times(const char* name) {
    std::map<std::string, WallTime> all;
    for (const auto& [key, value] : object(name).items()) all[key] = time(key, value);
    return all;
  }

  std::map<std::string, std::string> texts(const char* name) {
    std::map<std::string, std::string> all;
    for (const auto& [key, value] : object(name).items()) {
      if (value.is_string())
        all[key] = value.get<std::string>();
      else
        fail("'" + key + "' is no text");
    }
    return all;
  }

  const std::string& wrong() const { return wrong_; }

 private:
  void fail(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  const json& member(const char* name) {
    static const json none;
    const auto found = root_.is_object() ? root_.find(name) : root_.end();
    if (found != root_.end()) return *found;
    fail(std::string("'") + name + "' is missing");
    return none;
  }

  const json& object(const char* name) {
    static const json empty = json::object();
    const json& found = member(name);
    if (found.is_object()) return found;
    fail(std::string("'") + name + "' is no object");
    return empty;
  }

  WallTime time(const std::string& name, const json& value) {
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX});
    if (!fits) fail("'" + name + "' is no number of nanoseconds");
    return WallTime(std::chrono::nanoseconds(fits ? value.get<std::int64_t>() : 0));
  }

  const json& root_;
  std::string wrong_;
};

}  // namespace

Result<Latches> LatchFile::load() const {
  auto text = read_whole_file(path_, kMaxBytes);
  if (!text && text.error().error_number == ENOENT) return Latches{};
  if (!text) return text.error();
  const json root = json::parse(text.value(), nullptr, /*allow_exceptions=*/false);
  Reader reader(root);
  Latches latches;
  latches.highest_seen = reader.time(kHighestSeen);
  latches.trusted_offset_ns = reader.offset(kTrustedOffset);
  latches.revoked_at = reader.times(kRevokedAt);
  latches.notice_ends = reader.times(kNoticeEnds);
  latches.expired = reader.texts(kExpired);
  if (reader.wrong().empty()) return latches;
  return Error{path_ + ": is damaged: " + reader.wrong() + "; remove it once the clock is known to be right", 0};
}

Result<void> LatchFile::save(const Latches& latches) const {
  json root = {{kHighestSeen, nanoseconds(latches.highest_seen)},
               {kRevokedAt, nanoseconds(latches.revoked_at)},
               {kNoticeEnds, nanoseconds(latches.notice_ends)},
               {kExpired, latches.expired}};
  if (latches.trusted_offset_ns) root[kTrustedOffset] = *latches.trusted_offset_ns;
  return replace_file(path_, root.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace grantd
