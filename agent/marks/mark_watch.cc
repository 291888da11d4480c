#include "agent/marks/mark_watch.h"

#include "agent/marks/read_marks.h"

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
      seen_ = read_marks();
      tell(done_.get());
    });
  } catch (const std::system_error& failed) {
    seen_.unread.push_back(std::string("cannot make a thread to look at rules: ") + failed.what());
    tell(done_.get());
  }
}

bool MarkWatch::drain() {
  std::uint64_t looks = 0;
  if (read(done_.get(), &looks, sizeof(looks)) != sizeof(looks)) return false;
  if (thread_.joinable()) thread_.join();
  MarkFacts seen = std::move(seen_);
  if (facts_ && !seen.unread.empty())
    for (const MarkUse& use : facts_->uses) seen.add(use);
  if (facts_ == seen) return false;
  facts_ = std::move(seen);
  return true;
}

}  // namespace grantd
