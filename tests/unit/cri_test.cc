// Asking the container runtime where a pod's network is: over a real socket, and what it may answer.
#include "agent/guests/cri/runtime_records.h"
#include "agent/guests/cri/sandbox.h"
#include "tests/unit/cri_server.h"
#include "tests/unit/temporary_directory.h"

#include <agent/guests/cri/cri.pb.h>
#include <gmock/gmock.h>

#include <poll.h>

#include <chrono>

namespace grantd::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// As containerd 1.6 tells it, shortened.
constexpr const char* kContainerd = R"({"pid":4711,"processStatus":"running","runtimeSpec":{"ociVersion":"1.0.2",
"linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"network","path":"/var/run/netns/cni-1"}]}},
"cniResult":{"Interfaces":{"eth0":{"IPConfigs":[{"IP":"10.42.0.7","Gateway":"10.42.0.1"}],"Mac":"a6:0f:00:00:00:02",
"Sandbox":"/var/run/netns/cni-1"},"lo":{"IPConfigs":[{"IP":"127.0.0.1","Gateway":""}],"Mac":"","Sandbox":""},
"veth1234":{"IPConfigs":null,"Mac":"a6:0f:00:00:00:01","Sandbox":""}},"DNS":[{}],"Routes":null}})";

void name(runtime::v1::PodSandboxMetadata& metadata, const std::string& uid) {
  metadata.set_namespace_("guest-bob");
  metadata.set_name("web");
  metadata.set_uid(uid);
}

std::string list(const std::vector<std::pair<std::string, std::string>>& sandboxes) {
  runtime::v1::ListPodSandboxResponse response;
  std::int64_t made = 0;
  for (const auto& [uid, id] : sandboxes) {
    auto& item = *response.add_items();
    name(*item.mutable_metadata(), uid);
    item.set_id(id);
    item.set_created_at(++made);
  }
  return response.SerializeAsString();
}

std::string status(const std::string& uid, const std::string& info = kContainerd) {
  runtime::v1::PodSandboxStatusResponse response;
  name(*response.mutable_status()->mutable_metadata(), uid);
  response.mutable_status()->mutable_network()->set_ip("10.42.0.7");
  response.mutable_status()->mutable_network()->add_additional_ips()->set_ip("fd00::7");
  (*response.mutable_info())["info"] = info;
  return response.SerializeAsString();
}

TEST(CriSandbox, ItsStatusSaysWhereItsNetworkIs) {
  const auto record = read_sandbox_status(status("uid-1"));
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record.value().pod_namespace + "/" + record.value().pod_name, "guest-bob/web");
  EXPECT_EQ(record.value().pod_uid, "uid-1");
  EXPECT_EQ(record.value().netns, "/var/run/netns/cni-1");
  EXPECT_THAT(record.value().host_interfaces, ElementsAre("veth1234"));
  EXPECT_THAT(record.value().addresses,
              ElementsAre(IpAddress::parse("10.42.0.7").value(), IpAddress::parse("fd00::7").value()));
}

TEST(CriSandbox, WhatTellsNoNetworkIsAnError) {
  for (const char* info : {"", "{", "[]", "{}", R"({"runtimeSpec":{"linux":{"namespaces":7}}})",
                           R"({"runtimeSpec":{"linux":{"namespaces":[{"type":"network"}]}}})",
                           R"({"runtimeSpec":{"linux":{"namespaces":[{"type":"pid","path":"/run/x"}]}}})"})
    EXPECT_FALSE(read_sandbox_status(status("uid-1", info))) << info;
  EXPECT_FALSE(read_sandbox_status("\xff\xff"));
  EXPECT_FALSE(read_sandboxes("\xff\xff"));
}

TEST(CriSandbox, OfSeveralOfOnePodTheNewestCounts) {
  EXPECT_THAT(read_sandboxes(list({{"a", "old"}, {"b", "other"}, {"a", "new"}})).value(),
              ElementsAre(Pair("a", "new"), Pair("b", "other")));
}

TEST(CriGrpc, WhatIsNotOneMessageIsAnError) {
  const auto said = [](const std::string& body, const char* line = "grpc-status: 0\r\n", int http = 200) {
    GrpcAnswer answer;
    answer.header(line);
    EXPECT_TRUE(answer.data(body));
    return answer.message(http);
  };
  EXPECT_EQ(said(grpc_frame("hello")).value(), "hello");
  EXPECT_EQ(said(grpc_frame("")).value(), "");
  for (const std::string& body :
       {std::string(), std::string("\0\0", 2), std::string("\1\0\0\0\0", 5), std::string("\0\0\0\0\2x", 6),
        std::string("\0\xff\xff\xff\xffx", 6), grpc_frame("a") + grpc_frame("b")})
    EXPECT_FALSE(said(body));
  EXPECT_FALSE(said(grpc_frame("hello"), "grpc-status: 12\r\n"));
  EXPECT_FALSE(said(grpc_frame("hello"), "server: x\r\n")) << "cut off behind a whole message";
  EXPECT_FALSE(said(grpc_frame("hello"), "grpc-status: 0\r\n", 404));
  GrpcAnswer endless;
  EXPECT_TRUE(endless.data(std::string(GrpcAnswer::kMaxBytes, 'x')));
  EXPECT_FALSE(endless.data("x"));
}

class RuntimeRecordsTest : public testing::Test {
 protected:
  std::string path() const { return directory_.path("cri.sock"); }
  // Lets it work until it tells of a change; false: none came.
  static bool changes(RuntimeRecords& records, std::chrono::milliseconds within = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + within;
    while (std::chrono::steady_clock::now() < end) {
      pollfd one{records.fd(), POLLIN, 0};
      if (poll(&one, 1, 20) > 0 && records.drain()) return true;
    }
    return false;
  }
  TemporaryDirectory directory_;
};

TEST_F(RuntimeRecordsTest, ItAsksForTheUnfoundAloneAndRemembersWhileTheyAreReliedOn) {
  CriServer server(path(), [](int call) {
    if (call % 2 == 0) return CriAnswer{.message = list({{"uid-1", "one"}, {"uid-2", "two"}})};
    return CriAnswer{.message = status("uid-1")};
  });
  ASSERT_TRUE(server.good());
  auto records = RuntimeRecords::open(path());
  ASSERT_TRUE(records.ok());
  RuntimeRecords& asked = *records.value();
  EXPECT_FALSE(changes(asked, std::chrono::milliseconds(300)));
  EXPECT_EQ(server.calls(), 0) << "nobody is missing, nobody is asked";
  asked.want({"uid-1"}, {"uid-1"});
  ASSERT_TRUE(changes(asked));
  EXPECT_EQ(server.calls(), 2) << "one list, and one sandbox of two";
  ASSERT_NE(asked.find("uid-1"), nullptr);
  EXPECT_EQ(asked.find("uid-1")->netns, "/var/run/netns/cni-1");
  EXPECT_EQ(asked.find("uid-2"), nullptr);
  EXPECT_FALSE(asked.trouble());
  asked.want({"uid-1"}, {});
  EXPECT_FALSE(changes(asked, std::chrono::milliseconds(1000)));
  EXPECT_EQ(server.calls(), 2) << "it is found";
  EXPECT_NE(asked.find("uid-1"), nullptr);
  asked.want({}, {});
  EXPECT_EQ(asked.find("uid-1"), nullptr);
}

TEST_F(RuntimeRecordsTest, ItAsksAgainForOneThatIsNotThereYet) {
  CriServer server(path(), [](int call) {
    if (call < 2) return CriAnswer{.message = list({})};
    return CriAnswer{.message = call == 2 ? list({{"uid-1", "one"}}) : status("uid-1")};
  });
  auto records = RuntimeRecords::open(path());
  ASSERT_TRUE(records.ok());
  records.value()->want({"uid-1"}, {"uid-1"});
  ASSERT_TRUE(changes(*records.value()));
  EXPECT_NE(records.value()->find("uid-1"), nullptr);
  EXPECT_EQ(server.calls(), 4);
}

TEST_F(RuntimeRecordsTest, AnAnswerForAnotherPodIsNotTaken) {
  CriServer server(path(), [](int call) {
    return CriAnswer{.message = call % 2 == 0 ? list({{"uid-1", "one"}}) : status("uid-2")};
  });
  auto records = RuntimeRecords::open(path());
  ASSERT_TRUE(records.ok());
  records.value()->want({"uid-1"}, {"uid-1"});
  ASSERT_TRUE(changes(*records.value()));
  EXPECT_EQ(records.value()->find("uid-1"), nullptr);
  EXPECT_THAT(records.value()->trouble()->text(), HasSubstr("another pod"));
}

TEST_F(RuntimeRecordsTest, ARuntimeThatCannotBeAskedIsToldOfAndAskedAgain) {
  auto records = RuntimeRecords::open(path());
  ASSERT_TRUE(records.ok());
  RuntimeRecords& asked = *records.value();
  asked.want({"uid-1"}, {"uid-1"});
  ASSERT_TRUE(changes(asked));
  EXPECT_THAT(asked.trouble()->text(), HasSubstr(path()));
  for (const auto& [bad, told] :
       {std::pair{CriAnswer{.raw = "HTTP/1.1 400 Bad Request\r\n\r\n"}, "cannot be asked"},
        std::pair{CriAnswer{.raw = std::string(64, '\0')}, "cannot be asked"},
        std::pair{CriAnswer{.status = "12", .why = "unknown service"}, "gRPC status 12: unknown service"},
        std::pair{CriAnswer{.message = "\xff\xff"}, "its list of sandboxes cannot be read"}}) {
    CriServer server(path(), [&, answer = bad](int call) {
      if (call == 0) return answer;
      return CriAnswer{.message = call == 1 ? list({{"uid-1", "one"}}) : status("uid-1")};
    });
    asked.want({}, {});
    asked.want({"uid-1"}, {"uid-1"});
    ASSERT_TRUE(changes(asked));
    ASSERT_TRUE(asked.trouble());
    EXPECT_THAT(asked.trouble()->text(), HasSubstr(told));
    EXPECT_EQ(asked.find("uid-1"), nullptr);
    while (!asked.find("uid-1")) ASSERT_TRUE(changes(asked));
    while (asked.trouble()) ASSERT_TRUE(changes(asked));
  }
}

}  // namespace
}  // namespace grantd::test
