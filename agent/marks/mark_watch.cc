#include "agent/marks/mark_watch.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace grantd {

namespace {

constexpr int kLeastUrgent = 19;

void tell(int fd) {
  const std::uint64_t one = 1;
  (void)!write(fd, &one, sizeof(one));
}

}  // namespace

Result<std::unique_ptr<MarkWatch>> MarkWatch::open() {
  Descriptor done(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!done.valid()) return system_error("eventfd", errno);
  return std::unique_ptr<MarkWatch>(new MarkWatch(std::move(done)));
}

MarkWatch::~MarkWatch() {
  if (thread_.joinable()) thread_.join();
}

void MarkWatch::look() {
  if (thread_.joinable()) return;
  seen_ = {};
  try {
    thread_ = std::thread([this] {
      setpriority(PRIO_PROCESS, 0, kLeastUrgent);  // of this thread alone
      seen_ = read_mark_sources();
      tell(done_.get());
    });
  } catch (const std::system_error& failed) {
    for (MarkFacts& source : seen_)
      source.unread = {std::string("cannot make a thread to look at rules: ") + failed.what()};
    tell(done_.get());
  }
}

bool MarkWatch::drain() {
  std::uint64_t looks = 0;
  if (read(done_.get(), &looks, sizeof(looks)) != sizeof(looks)) return false;
  if (thread_.joinable()) thread_.join();
  for (std::size_t source = 0; source < seen_.size(); source++)
    if (!seen_[source].unread.empty()) seen_[source].add_all(known_[source]);
  known_ = std::move(seen_);
  MarkFacts all = all_marks(known_);
  if (facts_ == all) return false;
  facts_ = std::move(all);
  return true;
}

}  // namespace grantd
