// Preloaded into a real binary: the call of a class whose turn it is fails, or ends the process as SIGKILL does, as a
// page shared with the test says (failing.py has the same layout). Calls of all classes are counted there, failing or
// not.
#include "tests/netns/shared_page.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
}

namespace {

enum Class : std::uint64_t {
  kNone,
  kBpf,
  kNetlink,
  kAnswer,
  kFile,
  kMemory,
  kUpdate,
  kLink,
  kIoctl,
  kRun,
  kThread,
  kClasses
};

// Calls that do one thing: a command of bpf(), a type of netlink's messages, a function of files.
struct Operation {
  char function[24];
  std::uint64_t number, of;  // a Class
  std::atomic<std::uint64_t> calls, failed;
};
constexpr int kOperations = 64;

struct Page {
  std::atomic<std::uint64_t> armed;    // a Class
  std::atomic<std::uint64_t> error;    // an errno
  std::atomic<std::int64_t> left;      // 1: the next one fails
  std::atomic<std::uint64_t> goes_on;  // those after it fail too
  std::atomic<std::uint64_t> kills;    // the process, before the call
  std::atomic<std::uint64_t> failed;
  std::atomic<std::uint64_t> calls[kClasses];
  std::atomic<std::uint64_t> fsync_microseconds;   // as on a slow disk
  std::atomic<std::uint64_t> attach_microseconds;  // as on a node with many CPUs
  std::atomic<std::uint64_t> only;                 // the place of an Operation; above them all: any
  std::atomic<std::uint64_t> adding;
  Operation operations[kOperations];  // of all classes
};

Page* page = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local bool resolving = false;

__attribute__((constructor)) void open_page() {
  page = shared_page<Page>("GRANTD_FAILING_CALLS");
  page->adding = 0;  // whoever was killed at it
}

Operation* operation(Class of, const char* function, std::uint64_t number) {
  while (page->adding.exchange(1)) {
  }
  Operation* found = nullptr;
  for (Operation& each : page->operations) {
    if (!each.function[0]) {
      std::strncpy(each.function, function, sizeof(each.function) - 1);
      each.number = number;
      each.of = of;
    }
    if (each.number != number || std::strcmp(each.function, function) != 0) continue;
    found = &each;
    break;
  }
  page->adding = 0;
  if (!found) std::abort();  // kOperations is too small
  return found;
}

bool fails(Class of, const char* function = nullptr, std::uint64_t number = 0) {
  if (!page || resolving) return false;
  page->calls[of]++;
  Operation* const done = function ? operation(of, function, number) : nullptr;
  if (done) done->calls++;
  if (page->armed != of) return false;
  if (page->only < kOperations && done != &page->operations[page->only]) return false;
  const std::int64_t left = --page->left;
  if (left > 0 || (left < 0 && !page->goes_on)) return false;
  page->failed++;
  if (done) done->failed++;
  if (page->kills) kill(getpid(), SIGKILL);
  errno = static_cast<int>(page->error.load());
  return true;
}

void wait(const std::atomic<std::uint64_t> Page::*microseconds) {
  if (page && page->*microseconds) usleep(static_cast<useconds_t>((page->*microseconds).load()));
}

template <typename Function>
Function find(const char* name) {
  resolving = true;
  const auto found = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
  resolving = false;
  if (!found) std::abort();
  return found;
}

// What is said of a failure goes to standard error, which never fails here.
bool is_file(int file) { return file > 2; }

bool is_netlink(int file) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  return getsockopt(file, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK;
}

constexpr const char* kMessage = "netlink";

std::uint64_t type_of(const void* message) { return static_cast<const nlmsghdr*>(message)->nlmsg_type; }

}  // namespace

#define NEXT(name) static const auto next = find<decltype(&name)>(#name)

extern "C" {

long syscall(long number, ...) noexcept {
  NEXT(syscall);
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& each : a) each = va_arg(list, long);
  va_end(list);
  if (number == SYS_bpf && fails(kBpf, "bpf", static_cast<std::uint64_t>(a[0]))) return -1;
  // What takes memory of the kernel's; what is read of a map takes none.
  const bool updates = a[0] == BPF_MAP_UPDATE_ELEM || a[0] == BPF_MAP_UPDATE_BATCH || a[0] == BPF_MAP_CREATE;
  if (number == SYS_bpf && updates && fails(kUpdate)) return -1;
  if (number == SYS_bpf && a[0] == BPF_LINK_UPDATE && fails(kLink)) return -1;
  if (number == SYS_bpf && a[0] == BPF_PROG_TEST_RUN && fails(kRun)) return -1;
  if (number == SYS_bpf && a[0] == BPF_LINK_CREATE) wait(&Page::attach_microseconds);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// ---- netlink ----

int socket(int domain, int type, int protocol) noexcept {
  NEXT(socket);
  return domain == AF_NETLINK && fails(kNetlink, __func__) ? -1 : next(domain, type, protocol);
}
ssize_t send(int file, const void* data, size_t size, int flags) {
  NEXT(send);
  return is_netlink(file) && fails(kNetlink, kMessage, type_of(data)) ? -1 : next(file, data, size, flags);
}
ssize_t sendto(int file, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length) {
  NEXT(sendto);
  return is_netlink(file) && fails(kNetlink, kMessage, type_of(data)) ? -1 : next(file, data, size, flags, to, length);
}
ssize_t sendmsg(int file, const msghdr* message, int flags) {
  NEXT(sendmsg);
  return is_netlink(file) && fails(kNetlink, kMessage, type_of(message->msg_iov->iov_base))
             ? -1
             : next(file, message, flags);
}
ssize_t recv(int file, void* data, size_t size, int flags) {
  NEXT(recv);
  return is_netlink(file) && fails(kAnswer, __func__) ? -1 : next(file, data, size, flags);
}
ssize_t recvmsg(int file, msghdr* message, int flags) {
  NEXT(recvmsg);
  return is_netlink(file) && fails(kAnswer, __func__) ? -1 : next(file, message, flags);
}

// ---- interfaces ----

int ioctl(int file, unsigned long request, ...) noexcept {
  NEXT(ioctl);
  va_list list;
  va_start(list, request);
  void* const argument = va_arg(list, void*);
  va_end(list);
  return fails(kIoctl) ? -1 : next(file, request, argument);
}

// ---- files ----

#define OPEN(name)                                                  \
  int name(const char* path, int flags, ...) {                      \
    NEXT(name);                                                     \
    va_list list;                                                   \
    va_start(list, flags);                                          \
    const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0; \
    va_end(list);                                                   \
    return fails(kFile, __func__) ? -1 : next(path, flags, mode);   \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                         \
  int name(int directory, const char* path, int flags, ...) {                \
    NEXT(name);                                                              \
    va_list list;                                                            \
    va_start(list, flags);                                                   \
    const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;          \
    va_end(list);                                                            \
    return fails(kFile, __func__) ? -1 : next(directory, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

FILE* fopen(const char* path, const char* mode) {
  NEXT(fopen);
  return fails(kFile, __func__) ? nullptr : next(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  NEXT(fopen64);
  return fails(kFile, __func__) ? nullptr : next(path, mode);
}
DIR* opendir(const char* path) {
  NEXT(opendir);
  return fails(kFile, __func__) ? nullptr : next(path);
}
DIR* fdopendir(int file) {
  NEXT(fdopendir);
  return fails(kFile, __func__) ? nullptr : next(file);
}
dirent* readdir(DIR* directory) {
  NEXT(readdir);
  return fails(kFile, __func__) ? nullptr : next(directory);
}
dirent64* readdir64(DIR* directory) {
  NEXT(readdir64);
  return fails(kFile, __func__) ? nullptr : next(directory);
}
ssize_t read(int file, void* data, size_t size) {
  NEXT(read);
  return is_file(file) && fails(kFile, __func__) ? -1 : next(file, data, size);
}
ssize_t write(int file, const void* data, size_t size) {
  NEXT(write);
  return is_file(file) && fails(kFile, __func__) ? -1 : next(file, data, size);
}
int fsync(int file) {
  NEXT(fsync);
  wait(&Page::fsync_microseconds);
  return fails(kFile, __func__) ? -1 : next(file);
}
int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  return fails(kFile, __func__) ? -1 : next(from, to);
}
int unlink(const char* path) noexcept {
  NEXT(unlink);
  return fails(kFile, __func__) ? -1 : next(path);
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  return fails(kFile, __func__) ? -1 : next(path, mode);
}
int chmod(const char* path, mode_t mode) noexcept {
  NEXT(chmod);
  return fails(kFile, __func__) ? -1 : next(path, mode);
}
int fchmod(int file, mode_t mode) noexcept {
  NEXT(fchmod);
  return fails(kFile, __func__) ? -1 : next(file, mode);
}
int inotify_add_watch(int file, const char* path, std::uint32_t mask) noexcept {
  NEXT(inotify_add_watch);
  return fails(kFile, __func__) ? -1 : next(file, path, mask);
}
void* mmap(void* at, size_t length, int protection, int flags, int file, off_t offset) noexcept {
  NEXT(mmap);
  return file >= 0 && fails(kFile, __func__) ? MAP_FAILED : next(at, length, protection, flags, file, offset);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) noexcept {
  NEXT(pthread_create);
  return fails(kThread) ? errno : next(thread, attributes, run, argument);
}

// ---- memory ----

void* malloc(size_t size) noexcept { return fails(kMemory) ? nullptr : __libc_malloc(size); }
void* calloc(size_t count, size_t size) noexcept { return fails(kMemory) ? nullptr : __libc_calloc(count, size); }
void* realloc(void* old, size_t size) noexcept { return fails(kMemory) ? nullptr : __libc_realloc(old, size); }

}  // extern "C"
