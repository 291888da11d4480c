// Tells that something in a directory may have changed, also when the directory itself, or a link on the way to it, is
// replaced.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

struct inotify_event;

namespace grantd {

class DirectoryWatch {
 public:
  enum class Links : std::uint8_t {
    Opaque,
    Followed,  // files that manifests in it lead to are watched like those in it
  };
  static Result<DirectoryWatch> open(const std::string& directory, Links links = Links::Opaque);

  int events_fd() const { return events_.get(); }
  int settle_fd() const { return timer_.get(); }

  // Watches what stands at the path now. To be called before each reading of the directory. Where the kernel refuses
  // that, or links lead through too many directories, drain() gives true a second later, so that the directory is read
  // every second.
  Result<void> renew();

  // drain() gives true after this time, though nothing may have changed.
  void look_again(std::chrono::milliseconds after);

  // True once after changes, when they have been quiet. Reads everything that is there to read.
  bool drain();

 private:
  using Clock = std::chrono::steady_clock;

  Result<void> watch(const std::string& directory, const std::string& name, std::uint32_t events);
  Result<void> watch_way(std::filesystem::path at, const std::string& way, std::uint32_t at_its_end);
  Result<void> watch_all();
  void take_events();
  void take_event(const inotify_event& event, const char* name);
  bool elapsed();
  void set_timer(Clock::duration wait) const;

  std::string directory_;  // absolute
  Links links_ = Links::Opaque;
  Descriptor events_, timer_;
  // Watch -> the names that count in that directory; "" for all.
  std::map<int, std::set<std::string>> names_;
  std::optional<Clock::time_point> changing_since_;
  Clock::duration quiet_{};  // how long nothing more must happen
};

}  // namespace grantd
