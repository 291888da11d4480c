// The chain: the runtime's own configuration with grantd-cni behind it, and what keeps it so.
#include "agent/cni/chain.h"
#include "agent/cni/chain_keeper.h"
#include "agent/cni/request.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

namespace grantd {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As k3s writes it.
const char* const kFlannel = R"({
  "name":"cbr0", "cniVersion":"1.0.0",
  "plugins":[
    {"type":"flannel", "delegate":{"hairpinMode":true, "forceAddress":true, "isDefaultGateway":true}},
    {"type":"portmap", "capabilities":{"portMappings":true}},
    {"type":"bandwidth", "capabilities":{"bandwidth":true}}
  ]})";
const char* const kSingle = R"({"cniVersion":"0.4.0", "name":"lab", "type":"bridge", "bridge":"cni0", "mtu":1450})";

Chain made(const std::map<std::string, std::string>& files, const PluginSettings& settings = {}) {
  ConfFiles all;
  for (const auto& [name, text] : files) all.emplace(name, text);
  return make_chain(all, settings);
}

std::string told(const Chain& chain) {
  std::string all;
  for (const Problem& each : chain.problems) all += each.text() + "\n";
  return all;
}

TEST(Chain, IsTheRuntimesOwnWithOursBehind) {
  const Chain chain = made({{"10-flannel.conflist", kFlannel}, {"87-other.conflist", kSingle}, {"README", "x"}});
  EXPECT_EQ(chain.from, "10-flannel.conflist");
  EXPECT_FALSE(chain.overtaken);
  EXPECT_EQ(told(chain), "");
  json got = json::parse(chain.text), own = json::parse(kFlannel);
  ASSERT_EQ(got["plugins"].size(), 4U);
  EXPECT_EQ(got["plugins"].back()["type"], "grantd-cni");
  EXPECT_EQ(got["managedBy"], "grantd");
  EXPECT_TRUE(is_our_chain(chain.text));
  EXPECT_FALSE(is_our_chain(kFlannel));
  // Nothing else differs.
  got["plugins"].erase(3);
  got.erase("managedBy");
  EXPECT_EQ(got, own);
}

TEST(Chain, OfASinglePluginBecomesAList) {
  const json got = json::parse(made({{"10-lab.conf", kSingle}}).text);
  EXPECT_EQ(got["name"], "lab");
  EXPECT_EQ(got["cniVersion"], "0.4.0");
  ASSERT_EQ(got["plugins"].size(), 2U);
  EXPECT_EQ(got["plugins"][0], json::parse(kSingle));
}

TEST(Chain, ThePluginReadsTheSettingsThatTheAgentHas) {
  const PluginSettings settings{"/sys/fs/bpf/x", "/state", "/records", "visitor-*", "clsact", true, {"a", "b"}};
  json config = json::parse(made({{"10-flannel.conflist", kFlannel}}, settings).text)["plugins"].back();
  config.update({{"cniVersion", "1.1.0"}, {"name", "cbr0"}});
  const auto read = read_request({{"CNI_COMMAND", "STATUS"}}, config.dump());
  ASSERT_TRUE(std::holds_alternative<CniRequest>(read));
  EXPECT_EQ(std::get<CniRequest>(read).settings, settings);
}

TEST(Chain, OursIsNeverWhatItFollows) {
  const std::string ours = made({{"10-flannel.conflist", kFlannel}}).text;
  EXPECT_EQ(made({{"00-grantd.conflist", kSingle}, {"10-flannel.conflist", kFlannel}}).text, ours);
  EXPECT_EQ(made({{"05-copy.conflist", ours}, {"10-flannel.conflist", kFlannel}}).text, ours);
  EXPECT_EQ(made({{"05-copy.conflist", ours}, {"10-flannel.conflist", kFlannel}}).from, "10-flannel.conflist");
  for (const char* name : {"00-grantd.conflist", "05-copy.conflist"}) EXPECT_EQ(made({{name, ours}}).text, "");
  // Put in by hand: not twice.
  json by_hand = json::parse(kFlannel);
  by_hand["plugins"].insert(by_hand["plugins"].begin() + 1,
                            json::object({{"type", "grantd-cni"}, {"pinRoot", "/old"}}));
  EXPECT_EQ(made({{"10-flannel.conflist", by_hand.dump()}}).text, ours);
}

TEST(Chain, WhatIsNoConfigurationIsPassedOverAndTold) {
  for (const char* bad :
       {"", "{", "[]", R"({"name":"x"})", R"({"name":"x","plugins":[]})", R"({"name":"x","plugins":[{}]})",
        R"({"plugins":[{"type":"bridge"}]})", R"({"name":"x","type":"bridge"})"}) {
    const Chain chain = made({{"05-bad.conflist", bad}, {"10-lab.conf", kSingle}});
    EXPECT_EQ(chain.from, "10-lab.conf") << bad;
    EXPECT_THAT(chain.invalid, ElementsAre("05-bad.conflist"));
    EXPECT_THAT(told(chain), AllOf(HasSubstr("05-bad.conflist"), HasSubstr("passed over"))) << bad;
  }
  // A list in a file that is to hold a single plugin.
  EXPECT_EQ(made({{"05-list.conf", kFlannel}, {"10-lab.json", kSingle}}).from, "10-lab.json");
  ConfFiles unreadable;
  unreadable.emplace("05-bad.conf", Error{"read 05-bad.conf: too large"});
  EXPECT_THAT(told(make_chain(unreadable, {})), HasSubstr("too large"));
}

// Go's JSON reads U+FFFD for what is no UTF-8, so the runtime takes such a file.
TEST(Chain, BytesThatAreNoUtf8AreReadAsTheRuntimeReadsThem) {
  const auto named = [](const std::string& name) {
    const Chain chain = made({{"10-lab.conf", R"({"cniVersion":"1.0.0","type":"bridge","name":")" + name + "\"}"}});
    EXPECT_EQ(chain.from, "10-lab.conf") << told(chain);
    return chain.text.empty() ? "" : json::parse(chain.text)["name"].get<std::string>();
  };
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(named("caf\xe9"), "caf" + bad);
  EXPECT_EQ(named("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(named("\xf0\x9f\x98\x80 \xe2\x82\xac"), "\xf0\x9f\x98\x80 \xe2\x82\xac");
  EXPECT_EQ(named("\xc3x"), bad + "x");
  EXPECT_EQ(named("\xc0\xc0"), bad + bad);
  // Outside of a text it is no JSON, and neither is a byte order mark.
  for (const char* before : {"\xe9", "\xef\xbb\xbf"})
    EXPECT_EQ(made({{"10-lab.conf", before + std::string(kSingle)}}).from, "") << before;
}

TEST(Chain, AFileThatSortsBeforeOursIsAnError) {
  const Chain chain = made({{"00-first.conflist", kFlannel}});
  EXPECT_TRUE(chain.overtaken);
  EXPECT_EQ(chain.problems.at(0).severity, Severity::Error);
  EXPECT_THAT(told(chain), HasSubstr("sorts before 00-grantd.conflist"));
}

TEST(Chain, AlsoOneThatIsInvalidIsAnErrorThere) {
  const Chain chain = made({{"00-first.conflist", "{"}, {"10-flannel.conflist", kFlannel}});
  EXPECT_TRUE(chain.overtaken);
  EXPECT_EQ(chain.from, "10-flannel.conflist");
  EXPECT_EQ(chain.problems.at(0).severity, Severity::Error);
  EXPECT_FALSE(made({{"05-later.conflist", "{"}, {"10-flannel.conflist", kFlannel}}).overtaken);
}

TEST(Chain, AVersionThatThePluginDoesNotKnowIsRefused) {
  for (const char* version : {"0.2.0", "2.0.0", ""}) {
    json other = json::parse(kFlannel);
    other["cniVersion"] = version;
    const Chain chain = made({{"10-flannel.conflist", other.dump()}});
    EXPECT_EQ(chain.text, "");
    EXPECT_THAT(told(chain), HasSubstr("accepted: 0.3.0"));
  }
  json several = json::parse(kFlannel);
  several["cniVersions"] = {"1.0.0", "1.1.0", "1.2.0"};
  EXPECT_EQ(json::parse(made({{"10-flannel.conflist", several.dump()}}).text)["cniVersions"], json({"1.0.0", "1.1.0"}));
}

TEST(Chain, WithoutAConfigurationThereIsNone) {
  EXPECT_EQ(made({}).text, "");
  EXPECT_THAT(told(made({})), HasSubstr("no network configuration yet"));
}

class ChainKeeperTest : public testing::Test {
 protected:
  ChainKeeperTest() {
    for (const char* each : {"conf", "bin"}) std::filesystem::create_directory(directory_.path(each));
    directory_.write("grantd-cni", "the plugin");
    own(kFlannel);
  }

  ChainKeeper keeper() {
    auto opened =
        ChainKeeper::open({directory_.path("conf"), directory_.path("bin"), directory_.path("grantd-cni"), {}});
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  void own(const std::string& text) { directory_.write("conf/10-flannel.conflist", text); }
  std::string text(const std::string& name) const {
    std::ifstream file(directory_.path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string chain() const { return text("conf/00-grantd.conflist"); }
  std::string mtu() const { return json::parse(chain())["plugins"][0].value("mtu", "none"); }

  TemporaryDirectory directory_;
};

TEST_F(ChainKeeperTest, InstallsThePluginAndTheChain) {
  ChainKeeper keeper = this->keeper();
  const auto done = keeper.keep();
  EXPECT_TRUE(keeper.in_place());
  EXPECT_EQ(done.followed.size(), 2U);
  EXPECT_THAT(done.restored, IsEmpty());
  EXPECT_EQ(text("bin/grantd-cni"), "the plugin");
  struct stat about {};
  ASSERT_EQ(stat(directory_.path("bin/grantd-cni").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0755U);
  EXPECT_EQ(chain(), made({{"10-flannel.conflist", kFlannel}}).text);
  EXPECT_EQ(text("conf/10-flannel.conflist"), kFlannel);
  EXPECT_THAT(directory_.names("conf"), ElementsAre("00-grantd.conflist", "10-flannel.conflist"));
  const auto again = keeper.keep();
  EXPECT_THAT(again.followed, IsEmpty());
  EXPECT_THAT(again.restored, IsEmpty());
}

TEST_F(ChainKeeperTest, FollowsTheRuntimesOwn) {
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  json changed = json::parse(kFlannel);
  changed["plugins"][0]["mtu"] = "1280";
  own(changed.dump());
  EXPECT_EQ(keeper.keep().followed.size(), 1U);
  EXPECT_EQ(mtu(), "1280");
  EXPECT_EQ(keeper.restored(), 0U);
}

TEST_F(ChainKeeperTest, NoPodComesIntoAnotherNetworkWhileItIsWritten) {
  directory_.write("conf/87-other.conf", kSingle);
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  const std::string before = chain();
  own("{\"name\":\"cbr0\", \"plug");
  keeper.keep();
  EXPECT_EQ(chain(), before);
  std::filesystem::remove(directory_.path("conf/87-other.conf"));
  std::filesystem::remove(directory_.path("conf/10-flannel.conflist"));
  keeper.keep();
  EXPECT_EQ(chain(), before);
  EXPECT_TRUE(keeper.in_place());
  EXPECT_THAT(keeper.problems().at(0).message, HasSubstr("no network configuration yet"));
  directory_.write("conf/87-other.conf", kSingle);  // now it is another network
  keeper.keep();
  EXPECT_EQ(json::parse(chain())["name"], "lab");
}

TEST_F(ChainKeeperTest, ANewAgentDoesNotTakeAnotherNetworkWhileItIsWritten) {
  directory_.write("conf/87-other.conf", kSingle);
  keeper().keep();
  const std::string before = chain();
  own("{");
  ChainKeeper newer = keeper();
  newer.keep();
  EXPECT_EQ(chain(), before);
  own(kFlannel);
  newer.keep();
  EXPECT_EQ(chain(), before);
}

TEST_F(ChainKeeperTest, PutsBackWhatSomebodyTookOut) {
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  const std::string before = chain();
  std::uint64_t restored = 0;
  const std::vector<std::function<void()>> spoils = {
      [&] { std::filesystem::remove(directory_.path("conf/00-grantd.conflist")); },
      [&] { directory_.write("conf/00-grantd.conflist", kFlannel); },
      [&] { directory_.write("conf/00-grantd.conflist", "{"); },
      [&] { std::filesystem::remove(directory_.path("bin/grantd-cni")); },
      [&] { directory_.write("bin/grantd-cni", "another"); },
      [&] { chmod(directory_.path("bin/grantd-cni").c_str(), 0600); }};
  for (const auto& spoil : spoils) {
    spoil();
    EXPECT_EQ(keeper.keep().restored.size(), 1U);
    EXPECT_EQ(keeper.restored(), ++restored);
    EXPECT_TRUE(keeper.in_place());
    EXPECT_EQ(chain(), before);
    EXPECT_EQ(text("bin/grantd-cni"), "the plugin");
  }
}

TEST_F(ChainKeeperTest, ANewAgentKnowsWhatTheOldOneLeft) {
  keeper().keep();
  directory_.write("grantd-cni", "a newer plugin");
  ChainKeeper newer = keeper();
  EXPECT_THAT(newer.keep().restored, IsEmpty());
  EXPECT_EQ(text("bin/grantd-cni"), "a newer plugin");
  // After a boot the runtime's own may come later than the agent.
  std::filesystem::remove(directory_.path("conf/10-flannel.conflist"));
  ChainKeeper early = keeper();
  early.keep();
  EXPECT_TRUE(early.in_place());
}

TEST_F(ChainKeeperTest, NoConfigurationNamesAPluginThatIsNotThere) {
  std::filesystem::remove(directory_.path("grantd-cni"));
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  EXPECT_FALSE(keeper.in_place());
  EXPECT_THAT(directory_.names("conf"), ElementsAre("10-flannel.conflist"));
  EXPECT_THAT(keeper.problems().at(0).message, HasSubstr("grantd-cni"));
}

TEST_F(ChainKeeperTest, NoneIsWrittenAgainWhileThePluginIsAway) {
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  // An older plugin still closes guests, so the chain is put back behind it.
  std::filesystem::remove(directory_.path("grantd-cni"));
  std::filesystem::remove(directory_.path("conf/00-grantd.conflist"));
  EXPECT_EQ(keeper.keep().restored.size(), 1U);
  std::filesystem::remove(directory_.path("bin/grantd-cni"));
  keeper.keep();
  EXPECT_FALSE(keeper.in_place());
  EXPECT_NE(chain(), "");
  std::filesystem::remove(directory_.path("conf/00-grantd.conflist"));
  keeper.keep();
  EXPECT_THAT(directory_.names("conf"), ElementsAre("10-flannel.conflist"));
  directory_.write("grantd-cni", "the plugin");
  keeper.keep();
  EXPECT_TRUE(keeper.in_place());
}

TEST_F(ChainKeeperTest, ToBeOvertakenIsNotToBeInPlace) {
  directory_.write("conf/00-first.conf", kSingle);
  ChainKeeper keeper = this->keeper();
  keeper.keep();
  EXPECT_FALSE(keeper.in_place());
  std::filesystem::remove(directory_.path("conf/00-first.conf"));
  keeper.keep();
  EXPECT_TRUE(keeper.in_place());
}

TEST_F(ChainKeeperTest, IsTakenOutWithoutATrace) {
  keeper().keep();
  directory_.write("conf/00-grantd.conflist.new", "half");
  for (int times = 0; times < 2; times++)
    EXPECT_TRUE(remove_chain(directory_.path("conf"), directory_.path("bin")).ok());
  EXPECT_THAT(directory_.names("conf"), ElementsAre("10-flannel.conflist"));
  EXPECT_THAT(directory_.names("bin"), IsEmpty());
  EXPECT_TRUE(remove_chain("/nowhere/a", "/nowhere/b").ok());
}

}  // namespace
}  // namespace grantd
