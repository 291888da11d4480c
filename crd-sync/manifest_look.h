// Finds edits of manifests of which inotify tells nothing: by a hard link's other name, below a bind mount, on another
// host of a network file system.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

namespace grantd {

// What the system says of one file without reading it. Times in nanoseconds.
struct FileMark {
  int error_number = 0;  // why it says nothing
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t modified = 0, changed = 0;
  bool in_doubt = false;  // changed so lately that another change may have the same time; not compared

  bool operator==(const FileMark& other) const;
};

// Of each manifest directly in a directory, links followed; where it cannot be read, of the directory.
using ManifestMarks = std::map<std::string, FileMark>;

class ManifestLook {
 public:
  static Result<std::unique_ptr<ManifestLook>> open(const std::string& directory);
  ~ManifestLook();  // waits for a look that has begun, a second or as long as the file system takes
  ManifestLook(const ManifestLook&) = delete;
  ManifestLook& operator=(const ManifestLook&) = delete;

  // To be called before each reading: what changes from then on is found.
  void before_reading();
  // Begins to look in a thread of its own, since a network file system may not answer. At most one look at a time. What
  // differs is looked at until it is the same for a second: somebody may be writing.
  void begin();
  int fd() const { return done_.get(); }  // readable when a look is over; owned
  // True once where a look that is over found that something else would be read than was.
  bool drain();

 private:
  ManifestLook(std::string directory, Descriptor done) : directory_(std::move(directory)), done_(std::move(done)) {}

  void look(const ManifestMarks& known);  // the thread

  std::string directory_;
  Descriptor done_;
  std::thread thread_;    // joinable while a look is under way
  ManifestMarks seen_;    // the thread's, until it is joined, as is the next
  bool settled_ = false;  // seen twice, or as it was known
  std::atomic<bool> ending_ = false;
  ManifestMarks known_;   // before what was read last
  bool outdated_ = true;  // something was read since the look began
};

}  // namespace grantd
