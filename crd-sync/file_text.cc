#include "crd-sync/file_text.h"

#include "maps/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

namespace grantd {
namespace {

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("write " + path, errno);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Nobody who opens the file for writing gets it before this ends (fcntl(2), "Leases"): a matter of milliseconds.
class ReadLease {
 public:
  explicit ReadLease(int fd) : fd_(fd) {
    // Sent to who holds a lease that somebody waits for. The usual SIGIO would end the process.
    fcntl(fd_, F_SETSIG, SIGURG);
    if (fcntl(fd_, F_SETLEASE, F_RDLCK) == 0)
      held_ = true;
    else
      error_ = errno;
  }
  ReadLease(const ReadLease&) = delete;
  ReadLease& operator=(const ReadLease&) = delete;
  ~ReadLease() {
    if (held_) fcntl(fd_, F_SETLEASE, F_UNLCK);
  }

  bool has_writer() const { return error_ == EAGAIN; }

 private:
  int fd_;
  bool held_ = false;
  int error_ = 0;
};

Result<Descriptor> open_regular(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) return system_error("open " + path, errno);
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return system_error("stat " + path, errno);
  if (!S_ISREG(about.st_mode)) return Error{"open " + path + ": is no regular file"};
  return file;
}

Result<std::string> read_all(const Descriptor& file, const std::string& path, std::size_t limit) {
  struct stat about {};
  if (fstat(file.get(), &about) != 0) return system_error("stat " + path, errno);
  const Error too_large{"read " + path + ": has more than " + std::to_string(limit) + " bytes", EFBIG};
  if (about.st_size > 0 && static_cast<std::size_t>(about.st_size) > limit) return too_large;
  std::string text;
  text.reserve(static_cast<std::size_t>(about.st_size));
  std::array<char, 65536> block;
  while (true) {
    const ssize_t count = read(file.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("read " + path, errno);
    if (count == 0) return text;
    text.append(block.data(), static_cast<std::size_t>(count));
    if (text.size() > limit) return too_large;
  }
}

}  // namespace

Result<std::string> read_whole_file(const std::string& path, std::size_t limit) {
  const auto file = open_regular(path);
  return file ? read_all(file.value(), path, limit) : file.error();
}

Result<std::string> read_finished_file(const std::string& path, std::size_t limit) {
  const auto file = open_regular(path);
  if (!file) return file.error();
  const ReadLease lease(file.value().get());
  if (lease.has_writer()) return Error{"read " + path + ": somebody has it open for writing", EAGAIN};
  return read_all(file.value(), path, limit);
}

Result<void> replace_file(const std::string& path, std::string_view text, unsigned mode) {
  const std::string fresh = path + ".new";
  {
    const Descriptor file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) return system_error("open " + fresh, errno);
    if (fchmod(file.get(), mode) != 0) return system_error("set the mode of " + fresh, errno);
    if (auto written = write_all(file.get(), text, fresh); !written) return written;
    if (fsync(file.get()) != 0) return system_error("fsync " + fresh, errno);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return system_error("rename " + fresh + " to " + path, errno);
  // The rename itself outlives a crash only once the directory is on disk.
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const Descriptor parent(open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid() || fsync(parent.get()) != 0) return system_error("fsync the directory of " + path, errno);
  return {};
}

}  // namespace grantd
