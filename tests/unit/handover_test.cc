// What the plugin and the agent hand to each other on disk: it comes back as it was, or is known to be damaged.
#include "agent/handover/cni_record.h"
#include "agent/handover/guest_namespaces.h"
#include "agent/handover/refusals.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace grantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

CniRecord sample(const std::string& container_id = "c0ffee", const std::string& ifname = "eth0") {
  CniRecord record;
  record.container_id = container_id;
  record.ifname = ifname;
  record.network = "cbr0";
  record.netns = "/run/netns/cni-1";
  record.pod_namespace = "guest-bob";
  record.pod_name = "web";
  record.pod_uid = "0a1b";
  record.host_interface = "veth0a1b";
  record.ifindex = 12;
  record.guest_mac = MacAddress::parse("02:00:00:00:00:01").value();
  record.addresses = {IpAddress::parse("10.42.0.7").value(), IpAddress::parse("fd00::7").value()};
  return record;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(CniRecord, ComesBackAsItWas) {
  TemporaryDirectory directory;
  const std::string records = directory.path("a/b");
  CniRecord other = sample("beef", "net1");
  other.guest_mac.reset();
  other.addresses.clear();
  other.pod_uid.clear();
  ASSERT_TRUE(write_cni_record(records, sample()).ok());
  ASSERT_TRUE(write_cni_record(records, other).ok());
  auto read = read_cni_records(records);
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(read.value().records, ElementsAre(other, sample()));
  EXPECT_THAT(read.value().damaged, IsEmpty());
  struct stat about {};
  ASSERT_EQ(stat(records.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0700U);
}

TEST(CniRecord, IsReplacedAndRemovedByItsName) {
  TemporaryDirectory directory;
  CniRecord again = sample();
  again.ifindex = 99;
  ASSERT_TRUE(write_cni_record(directory.path(), sample()).ok());
  ASSERT_TRUE(write_cni_record(directory.path(), again).ok());
  ASSERT_TRUE(write_cni_record(directory.path(), sample("c0ffee", "net1")).ok());
  EXPECT_THAT(read_cni_records(directory.path()).value().records, ElementsAre(again, sample("c0ffee", "net1")));
  ASSERT_TRUE(remove_cni_record(directory.path(), "c0ffee", "eth0").ok());
  ASSERT_TRUE(remove_cni_record(directory.path(), "c0ffee", "eth0").ok());
  EXPECT_THAT(read_cni_records(directory.path()).value().records, ElementsAre(sample("c0ffee", "net1")));
}

TEST(CniRecord, OfAWriteThatWasCutShortNothingIsLeft) {
  TemporaryDirectory directory;
  directory.write("c0ffee:eth0.json.new", "{");
  directory.write("c0ffee:net1.json.new", "{");
  ASSERT_TRUE(remove_cni_record(directory.path(), "c0ffee", "eth0").ok());
  EXPECT_THAT(directory.names(), ElementsAre("c0ffee:net1.json.new"));
}

TEST(CniRecord, IsFoundByItsName) {
  TemporaryDirectory directory;
  ASSERT_TRUE(write_cni_record(directory.path(), sample()).ok());
  ASSERT_TRUE(write_cni_record(directory.path(), sample("c0ffee", "net1")).ok());
  EXPECT_EQ(read_cni_record(directory.path(), "c0ffee", "net1").value(), sample("c0ffee", "net1"));
  EXPECT_EQ(read_cni_record(directory.path(), "beef", "eth0").value(), std::nullopt);
  EXPECT_EQ(read_cni_record(directory.path("none"), "c0ffee", "eth0").value(), std::nullopt);
  EXPECT_FALSE(read_cni_record(directory.path(), "../c0ffee", "eth0").ok());
  directory.write("c0ffee:eth0.json", "{");
  EXPECT_THAT(read_cni_record(directory.path(), "c0ffee", "eth0").error().message,
              AllOf(HasSubstr("c0ffee:eth0.json"), HasSubstr("is damaged")));
}

TEST(CniRecord, AllAreRemovedAndNothingElse) {
  TemporaryDirectory directory;
  const std::string records = directory.path("records");
  EXPECT_TRUE(remove_cni_records(records).ok());
  ASSERT_TRUE(write_cni_record(records, sample()).ok());
  directory.write("records/damaged.json", "{");
  directory.write("records/half.json.new", "{");
  directory.write("records/another", "");
  EXPECT_TRUE(remove_cni_records(records).ok());
  EXPECT_THAT(directory.names("records"), ElementsAre("another"));
  std::filesystem::remove(records + "/another");
  EXPECT_TRUE(remove_cni_records(records).ok());
  EXPECT_THAT(directory.names(), IsEmpty());
}

TEST(CniRecord, TwoAttachmentsNeverShareAFile) {
  TemporaryDirectory directory;
  ASSERT_TRUE(write_cni_record(directory.path(), sample("a-b", "c")).ok());
  ASSERT_TRUE(write_cni_record(directory.path(), sample("a", "b-c")).ok());
  EXPECT_THAT(read_cni_records(directory.path()).value().records, SizeIs(2));
}

TEST(CniRecord, ANameThatLeavesTheDirectoryIsRefused) {
  TemporaryDirectory directory;
  for (const std::string name : {"", "../x", "a/b", "-a", "a:b", "a\nb"}) {
    EXPECT_FALSE(write_cni_record(directory.path(), sample(name)).ok()) << name;
    EXPECT_FALSE(remove_cni_record(directory.path(), name, "eth0").ok()) << name;
  }
  for (const std::string name : {"", ".", "..", "a/b", "a:b", "a b", "sixteen-letters-"})
    EXPECT_FALSE(write_cni_record(directory.path(), sample("a", name)).ok()) << name;
  EXPECT_THAT(directory.names(), IsEmpty());
}

TEST(CniRecord, ADamagedOneIsNamedAndTheOthersAreRead) {
  TemporaryDirectory directory;
  ASSERT_TRUE(write_cni_record(directory.path(), sample()).ok());
  const std::string good = text_of(directory.path("c0ffee:eth0.json"));
  std::size_t count = 0;
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"\"version\": 1", "\"version\": 2"},
                                                        {"\"version\": 1", "\"version\": \"1\""},
                                                        {"\"c0ffee\"", "\"../../etc\""},
                                                        {"\"ifindex\": 12", "\"ifindex\": 0"},
                                                        {"\"ifindex\": 12", "\"ifindex\": -1"},
                                                        {"\"ifindex\": 12", "\"ifindex\": 1e99"},
                                                        {"\"ifindex\": 12", "\"ifindex\": 18446744073709551616"},
                                                        {"\"10.42.0.7\"", "\"10.42.0\""},
                                                        {"\"10.42.0.7\"", "7"},
                                                        {"\"02:00:00:00:00:01\"", "\"02:00\""},
                                                        {"\"veth0a1b\"", "null"},
                                                        {"\"guest-bob\"", "{}"},
                                                        {"{", "["},
                                                        {"}", ""}}) {
    std::string bad = good;
    const auto at = bad.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    directory.write("bad" + std::to_string(count++) + ":eth0.json", bad.replace(at, from.size(), to));
  }
  directory.write("half:eth0.json", good.substr(0, good.size() / 2));
  directory.write("deep:eth0.json", std::string(60'000, '['));
  directory.write("copy:eth0.json", good);  // the record of another
  directory.write("large:eth0.json", std::string(100'000, ' '));
  directory.write("c0ffee:eth0.json.new", "being written");
  auto read = read_cni_records(directory.path());
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(read.value().records, ElementsAre(sample()));
  EXPECT_THAT(read.value().damaged, SizeIs(count + 4));
  for (const Error& error : read.value().damaged)
    EXPECT_THAT(error.message, HasSubstr(directory.path())) << error.message;
}

TEST(CniRecord, ADirectoryThatIsNotThereHoldsNone) {
  TemporaryDirectory directory;
  EXPECT_THAT(read_cni_records(directory.path("none")).value().records, IsEmpty());
  directory.write("file", "");
  EXPECT_FALSE(read_cni_records(directory.path("file")).ok());
}

TEST(GuestNamespaces, ComeBackAsTheyWere) {
  TemporaryDirectory directory;
  EXPECT_FALSE(read_guest_namespaces(directory.path()).value().has_value());
  const GuestNamespaces wanted{"guest-*", {"team-a", "team-b"}, {"kube-system"}, {{"uid-1", "team-c/web"}}};
  ASSERT_TRUE(keep_guest_namespaces(directory.path(), wanted).ok());
  EXPECT_EQ(read_guest_namespaces(directory.path()).value(), wanted);
}

TEST(GuestNamespaces, AreWrittenOnlyWhereTheySaySomethingElse) {
  TemporaryDirectory directory;
  const auto written = [&] {
    struct stat about {};
    EXPECT_EQ(stat(guest_namespaces_path(directory.path()).c_str(), &about), 0);
    return about.st_ino;
  };
  ASSERT_TRUE(keep_guest_namespaces(directory.path(), {"guest-*", {"team-a"}, {}}).ok());
  const auto first = written();
  ASSERT_TRUE(keep_guest_namespaces(directory.path(), {"guest-*", {"team-a"}, {}}).ok());
  EXPECT_EQ(written(), first);
  ASSERT_TRUE(keep_guest_namespaces(directory.path(), {"guest-*", {"team-b"}, {}}).ok());
  EXPECT_THAT(read_guest_namespaces(directory.path()).value()->guests, ElementsAre("team-b"));
}

TEST(GuestNamespaces, AnAgentThatStartsVouchesForNoneOfAnother) {
  TemporaryDirectory directory;
  ASSERT_TRUE(disown_ordinary_namespaces(directory.path()).ok());
  EXPECT_FALSE(read_guest_namespaces(directory.path()).value().has_value());
  ASSERT_TRUE(keep_guest_namespaces(directory.path(), {"visitor-*", {"team-a"}, {"monitoring"}}).ok());
  ASSERT_TRUE(disown_ordinary_namespaces(directory.path()).ok());
  EXPECT_EQ(read_guest_namespaces(directory.path()).value(), (GuestNamespaces{"visitor-*", {"team-a"}, {}}));
  directory.write("guest-namespaces.json", "{");
  ASSERT_TRUE(disown_ordinary_namespaces(directory.path()).ok());
  EXPECT_FALSE(read_guest_namespaces(directory.path()).ok()) << "nothing is vouched for by a damaged one";
}

TEST(GuestNamespaces, OfAnOlderAgentKnowNoFormerGuests) {
  TemporaryDirectory directory;
  directory.write("guest-namespaces.json",
                  "{\"version\": 1, \"pattern\": \"guest-*\", \"guests\": [\"a\"], \"ordinary\": []}");
  EXPECT_EQ(read_guest_namespaces(directory.path()).value(), (GuestNamespaces{"guest-*", {"a"}, {}}));
}

TEST(GuestNamespaces, ADamagedFileIsAnErrorUntilItIsWrittenAnew) {
  TemporaryDirectory directory;
  const GuestNamespaces wanted{"guest-*", {"team-a"}, {}};
  for (const std::string bad :
       {"", "{", "[]", "{\"version\": 1}", "{\"version\": 1, \"pattern\": \"\", \"guests\": [], \"ordinary\": []}",
        "{\"version\": 1, \"pattern\": \"g\", \"guests\": {}, \"ordinary\": []}",
        "{\"version\": 1, \"pattern\": \"g\", \"guests\": [\"A/b\"], \"ordinary\": []}",
        "{\"version\": 1, \"pattern\": \"g\", \"guests\": [], \"ordinary\": [], \"formerGuests\": []}",
        "{\"version\": 1, \"pattern\": \"g\", \"guests\": [], \"ordinary\": [], \"formerGuests\": {\"uid\": 1}}",
        "{\"version\": 2, \"pattern\": \"g\", \"guests\": [], \"ordinary\": []}"}) {
    directory.write("guest-namespaces.json", bad);
    auto read = read_guest_namespaces(directory.path());
    ASSERT_FALSE(read.ok()) << bad;
    EXPECT_THAT(read.error().message, AllOf(HasSubstr(directory.path()), HasSubstr("damaged"))) << bad;
    ASSERT_TRUE(keep_guest_namespaces(directory.path(), wanted).ok());
    EXPECT_EQ(read_guest_namespaces(directory.path()).value(), wanted);
  }
}

Refusals refused(std::size_t count) {
  Refusals refusals;
  refusals.pin_root = "/sys/fs/bpf/grantd";
  for (std::size_t number = 0; number < count; number++)
    refusals.refused.push_back({number % 2 ? Refusal::Kind::Guest : Refusal::Kind::Grant,
                                "name" + std::to_string(number), "\"\x01\"" + std::string(5000, '"')});
  return refusals;
}

TEST(RefusalsFile, ComesBackAsItWasWithinItsBounds) {
  TemporaryDirectory directory;
  EXPECT_FALSE(read_refusals(directory.path()).value().has_value()) << "none has been written";
  ASSERT_TRUE(keep_refusals(directory.path(), refused(0)).ok());
  EXPECT_EQ(read_refusals(directory.path()).value(), refused(0));
  ASSERT_TRUE(keep_refusals(directory.path(), refused(kRefusalsKept + 7)).ok());
  const auto read = read_refusals(directory.path());
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read.value()->refused.size(), kRefusalsKept);
  EXPECT_EQ(read.value()->more, 7U);
  EXPECT_EQ(read.value()->refused[1].kind, Refusal::Kind::Guest);
  EXPECT_EQ(read.value()->refused[1].name, "name1");
  EXPECT_EQ(read.value()->refused[1].why, refused(2).refused[1].why.substr(0, 1024));
  struct stat about {};
  ASSERT_EQ(stat(refusals_path(directory.path()).c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
}

TEST(RefusalsFile, ThatIsDamagedIsNamedAndWrittenAnew) {
  TemporaryDirectory directory;
  for (const char* text :
       {"", "{", "[]", R"({"version": 2})", R"({"version": 1, "pin_root": "/p", "more": -1, "refused": []})",
        R"({"version": 1, "pin_root": "/p", "more": 0, "refused": {}})",
        R"({"version": 1, "pin_root": "/p", "more": 0, "refused": [{"kind": "Pod", "name": "x", "why": ""}]})"}) {
    directory.write("refused.json", text);
    const auto read = read_refusals(directory.path());
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_THAT(read.error().message, AllOf(HasSubstr("refused.json: is damaged"), HasSubstr("writes it anew")))
        << text;
    ASSERT_TRUE(keep_refusals(directory.path(), refused(1)).ok());
    EXPECT_EQ(read_refusals(directory.path()).value()->refused.size(), 1U);
  }
}

}  // namespace
}  // namespace grantd
