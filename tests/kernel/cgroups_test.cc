// Cgroups by path and by id, and programs on them.
#include "agent/attach/cgroups.h"

#include "agent/attach/attacher.h"
#include "agent/attach/links.h"
#include "tests/kernel/sandbox.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace grantd::test {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

#define ASSERT_DONE(expression) \
  if (const auto done = (expression); !done) GTEST_FAIL() << #expression << ": " << done.error().message

#define EXPECT_DONE(expression) \
  if (const auto done = (expression); !done) ADD_FAILURE() << #expression << ": " << done.error().message

class Cgroups : public testing::Test {
 protected:
  Cgroups() { std::filesystem::create_directory(path); }
  ~Cgroups() override {
    if (!attacher.detach_all()) ADD_FAILURE() << "cannot detach";
    rmdir(path.c_str());
  }

  // What a process of this cgroup gets from connect(2): 0, or an errno. Nothing leaves the machine.
  int connect_inside(int family) const {
    const pid_t child = fork();
    if (child == 0) {
      std::ofstream(path + "/cgroup.procs") << getpid() << std::flush;
      _exit(connect_here(family));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }

  static int connect_here(int family) {
    const Descriptor socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(9);
    six.sin6_addr = in6addr_loopback;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(9);
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int failed = family == AF_INET ? connect(socket.get(), reinterpret_cast<const sockaddr*>(&four), sizeof(four))
                                         : connect(socket.get(), reinterpret_cast<const sockaddr*>(&six), sizeof(six));
    return failed ? errno : 0;
  }

  // Whether a process of this cgroup can send a datagram.
  int send_inside() const {
    const pid_t child = fork();
    if (child == 0) {
      std::ofstream(path + "/cgroup.procs") << getpid() << std::flush;
      const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in four{};
      four.sin_family = AF_INET;
      four.sin_port = htons(9);
      four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      _exit(sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&four), sizeof(four)) == 1 ? 0 : errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }

  const std::string name = "grantd-kernel-test-" + std::to_string(getpid()), path = cgroup_root() + "/" + name;
  Attacher attacher{pin_root(), AttachMode::Auto};
};

TEST_F(Cgroups, AnIdForEachPathAndNoneForOthers) {
  const auto id = cgroup_id(name);
  ASSERT_TRUE(id);
  struct stat inode {};
  ASSERT_EQ(stat(path.c_str(), &inode), 0);
  EXPECT_EQ(*id, inode.st_ino);
  EXPECT_EQ(cgroup_id("/" + name), id);
  EXPECT_NE(cgroup_id(""), id);
  EXPECT_FALSE(cgroup_id(name + "-not"));
  EXPECT_FALSE(cgroup_id(name + "/cgroup.procs")) << "a file";
  EXPECT_FALSE(cgroup_id("../../../../etc")) << "another file system";
}

TEST_F(Cgroups, IsOpenedByItsIdWithoutTheRightToReadAllFiles) {
  const std::string below = path + "/below";
  std::filesystem::create_directory(below);
  const auto id = cgroup_id(name + "/below");
  ASSERT_TRUE(id);
  const pid_t child = fork();
  if (child == 0) {
    // What the agent's DaemonSet has not.
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct rights[2]{};
    if (syscall(SYS_capget, &header, rights) != 0) _exit(2);
    rights[0].effective &= ~(1U << CAP_DAC_READ_SEARCH | 1U << CAP_DAC_OVERRIDE);
    if (syscall(SYS_capset, &header, rights) != 0) _exit(3);
    const auto opened = open_cgroup(*id);
    struct stat have {
    }, want{};
    if (!opened || fstat(opened.value().get(), &have) != 0 || stat(below.c_str(), &want) != 0) _exit(4);
    _exit(have.st_ino == want.st_ino && have.st_dev == want.st_dev ? 0 : 5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::filesystem::remove(below);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "2 and 3: capabilities, 4: not opened, 5: another one";
  EXPECT_EQ(open_cgroup(*id).error().error_number, ESTALE) << "it is gone";
}

TEST_F(Cgroups, ConnectIsRefusedByFamilyInsideOnly) {
  const Program refusing4 = program_for(Hook::Connect4, 0), refusing6 = program_for(Hook::Connect6, 0);
  const Attachment four{Hook::Connect4, 0, *cgroup_id(name)}, six{Hook::Connect6, 0, *cgroup_id(name)};
  EXPECT_EQ(connect_inside(AF_INET), 0);
  EXPECT_EQ(connect_inside(AF_INET6), 0);
  ASSERT_DONE(attacher.attach(four, refusing4.fd.get(), refusing4.id));
  EXPECT_EQ(connect_inside(AF_INET), EPERM);
  EXPECT_EQ(connect_inside(AF_INET6), 0);
  EXPECT_EQ(connect_here(AF_INET), 0);
  ASSERT_DONE(attacher.attach(six, refusing6.fd.get(), refusing6.id));
  EXPECT_EQ(connect_inside(AF_INET6), EPERM);
  const std::map<Hook, std::uint32_t> ids = {{Hook::FromGuest, 0},
                                             {Hook::ToGuest, 0},
                                             {Hook::FromUplink, 0},
                                             {Hook::Connect4, refusing4.id},
                                             {Hook::Connect6, refusing6.id}};
  EXPECT_THAT(attacher.present(ids).value().first, UnorderedElementsAre(four, six));
  ASSERT_DONE(attacher.detach(four));
  EXPECT_EQ(connect_inside(AF_INET), 0);
  EXPECT_THAT(attacher.present(ids).value().first, UnorderedElementsAre(six));
}

TEST_F(Cgroups, SocketProgramsDropAndAreReplacedInPlace) {
  const Program dropping = program_for(Hook::SkbEgress, 0), passing = program_for(Hook::SkbEgress, 1);
  const Attachment egress{Hook::SkbEgress, 0, *cgroup_id(name)};
  ASSERT_DONE(attacher.attach(egress, passing.fd.get(), passing.id));
  EXPECT_EQ(send_inside(), 0);
  ASSERT_DONE(attacher.attach(egress, dropping.fd.get(), dropping.id));
  EXPECT_EQ(send_inside(), EPERM);
  ASSERT_EQ(attacher.adopt({{Hook::SkbEgress, passing.fd.get()}}).value(), 1U);
  EXPECT_EQ(send_inside(), 0);
}

TEST_F(Cgroups, ALinkUnderTheNameOfAnotherCgroupHolds) {
  const Program refusing = program_for(Hook::Connect4, 0);
  const std::string other = path + "/other", links = pin_root() + "/links/";
  std::filesystem::create_directory(other);
  const Attachment own{Hook::Connect4, 0, *cgroup_id(name)}, others{Hook::Connect4, 0, *cgroup_id(name + "/other")};
  ASSERT_DONE(attacher.attach(own, refusing.fd.get(), refusing.id));
  const std::string first = links + link_name(own), second = links + link_name(others);
  std::filesystem::rename(first, second);
  EXPECT_DONE(attacher.attach(others, refusing.fd.get(), refusing.id));
  EXPECT_EQ(connect_inside(AF_INET), EPERM);
  const std::map<Hook, std::uint32_t> ids = {
      {Hook::FromGuest, 0}, {Hook::ToGuest, 0}, {Hook::FromUplink, 0}, {Hook::Connect4, refusing.id}};
  EXPECT_THAT(attacher.present(ids).value().first, UnorderedElementsAre(own, others));
  EXPECT_DONE(attacher.detach_all());
  EXPECT_EQ(connect_inside(AF_INET), 0);
  std::filesystem::remove(other);
}

TEST_F(Cgroups, ALinkOutlivesItsPinAndGetsItAgain) {
  const Program refusing = program_for(Hook::Connect4, 0);
  const Attachment four{Hook::Connect4, 0, *cgroup_id(name)};
  ASSERT_DONE(attacher.attach(four, refusing.fd.get(), refusing.id));
  const std::string pin = pin_root() + "/links/" + link_name(four);
  ASSERT_TRUE(std::filesystem::remove(pin));
  EXPECT_EQ(connect_inside(AF_INET), EPERM) << "at once, and before anybody looks";
  const std::map<Hook, std::uint32_t> ids = {
      {Hook::FromGuest, 0}, {Hook::ToGuest, 0}, {Hook::FromUplink, 0}, {Hook::Connect4, refusing.id}};
  EXPECT_THAT(attacher.present(ids).value().first, UnorderedElementsAre(four));
  EXPECT_TRUE(std::filesystem::exists(pin));
  EXPECT_EQ(attacher.take_lost_pins(), 1U);
  ASSERT_DONE(attacher.detach(four));
  EXPECT_EQ(connect_inside(AF_INET), 0);
}

TEST_F(Cgroups, ALinkOfACgroupThatIsGoneIsNoTrouble) {
  const Program refusing = program_for(Hook::Connect4, 0);
  const Attachment four{Hook::Connect4, 0, *cgroup_id(name)};
  ASSERT_DONE(attacher.attach(four, refusing.fd.get(), refusing.id));
  ASSERT_EQ(rmdir(path.c_str()), 0);
  const std::map<Hook, std::uint32_t> ids = {
      {Hook::FromGuest, 0}, {Hook::ToGuest, 0}, {Hook::FromUplink, 0}, {Hook::Connect4, refusing.id}};
  // The kernel lets go of a removed cgroup later, where it has much else to clear away some seconds.
  for (int attempt = 0; attempt < 1000 && !attacher.present(ids).value().first.empty(); attempt++) usleep(20'000);
  EXPECT_THAT(attacher.present(ids).value().first, IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(pin_root() + "/links"));
  const auto failed = attacher.attach(four, refusing.fd.get(), refusing.id);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().error_number, ESTALE);
}

}  // namespace
}  // namespace grantd::test
