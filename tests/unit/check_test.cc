// grantd check: what it says of manifests.
#include "agent/run/check.h"
#include "tests/unit/manifest_texts.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <sstream>

namespace grantd {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

class Check : public testing::Test {
 protected:
  // Standard output of `grantd check` on these manifests, beside the Realms alice and bob.
  std::string out_of(const std::string& text) {
    directory_.write("a.yaml", realm_text("alice", "192.0.2.128/25") + realm_text("bob", "192.0.2.0/25") + text);
    settings_.paths = {directory_.path("a.yaml")};
    std::ostringstream out, err;
    exit_code_ = check(settings_, out, err);
    return out.str();
  }

  // The only problem with them, as JSON tells it.
  nlohmann::json problem_of(const std::string& text) {
    settings_.json_output = true;
    const auto problems = nlohmann::json::parse(out_of(text)).at("problems");
    EXPECT_EQ(problems.size(), 1U) << problems;
    EXPECT_EQ(exit_code_, 1);
    return problems.empty() ? nlohmann::json::object() : problems[0];
  }

  TemporaryDirectory directory_;
  Settings settings_;
  int exit_code_ = -1;
};

TEST_F(Check, CountsTheDestinationsThatAGrantOpens) {
  const auto grant = [](const std::string& name, const std::string& allowed, const std::string& rest) {
    return grant_text(name, "bob",
                      "networkPolicy: {egressAllowed: " + allowed +
                          ", allowedDestinations: [\"198.51.100.1\", \"realm:alice\", \"service:a/b\"], "
                          "ingress: {from: [Grantee, Grantor]}}, validity: {validUntil: 2099-01-01T00:00:00Z}" +
                          rest);
  };
  const std::string out = out_of(grant("opens", "true", "") + grant("closed", "false", "") +
                                 grant("over", "true", ", revoked: true, revocation: {noticePeriodSeconds: 60}"));
  EXPECT_EQ(exit_code_, 0) << out;
  const std::string limits = " +unlimited +unlimited +";
  EXPECT_THAT(out, ContainsRegex("/opens +alice +bob +Active" + limits + "2 ")) << "a service opens nothing here";
  EXPECT_THAT(out, ContainsRegex("/closed +alice +bob +Active" + limits + "0 "));
  EXPECT_THAT(out, ContainsRegex("/over +alice +bob +Revoked" + limits + "0 ")) << "under notice";
}

// The spec of the Grant begins on this line.
constexpr int kSpecLine = 15;

TEST_F(Check, ARefusalNamesItsField) {
  const auto burst = problem_of(grant_text("g", "bob",
                                           "hard: {keystone.io/ingress-bandwidth: 8000},\n bandwidth: {\n"
                                           "  ingressBurst: 1048576}"));
  EXPECT_EQ(burst.at("object"), "Grant keystone-system/g");
  EXPECT_EQ(burst.at("field"), "spec.bandwidth.ingressBurst");
  EXPECT_EQ(burst.at("value"), "1048576");
  EXPECT_EQ(burst.at("message"), "lasts more than 549 s at the rate of 8000 bit/s");
  EXPECT_EQ(burst.at("accepted"), "a smaller burst");
  EXPECT_EQ(burst.at("line"), kSpecLine + 2);

  std::string many = "\"203.0.113.1\"";
  for (int port = 0; port < 17; port++) many += ",\n  \"198.51.100.1:" + std::to_string(1 + 2 * port) + "/TCP\"";
  const auto ranges =
      problem_of(grant_text("g", "bob", "networkPolicy: {egressAllowed: true, allowedDestinations: [" + many + "]}"));
  EXPECT_EQ(ranges.at("field"), "spec.networkPolicy.allowedDestinations[1]") << "the first of those that come together";
  EXPECT_EQ(ranges.at("value"), "198.51.100.1:1/TCP");
  EXPECT_THAT(ranges.at("message").get<std::string>(),
              StartsWith("17 separate ranges of ports come together at 198.51.100.1"));
  EXPECT_THAT(ranges.at("accepted").get<std::string>(), StartsWith("at most 16"));
  EXPECT_EQ(ranges.at("line"), kSpecLine + 1);
}

TEST_F(Check, ARefusalByALimitOfTheNodeSaysWhatIsAccepted) {
  const auto grants = grant_text("g", "bob", "revoked: true") + grant_text("h", "bob", "revoked: true");
  const std::string besides = "; it is revoked all the same";
  settings_.limits.grants = 1;
  auto told = problem_of(grants);
  EXPECT_EQ(told.at("object"), "Grant keystone-system/h");
  EXPECT_EQ(told.at("message"), "no room for another Grant on this node: --max-grants is 1" + besides);
  EXPECT_EQ(told.at("accepted"), "fewer Grants, or a higher limit");
  settings_.limits = {};
  settings_.limits.identities = 4;  // this node, alice, bob and a Grant
  told = problem_of(grants);
  EXPECT_EQ(told.at("message"), "no identity is left for another Grant on this node: --max-identities is 4" + besides);
  EXPECT_EQ(told.at("accepted"), "fewer Realms and Grants, or a higher limit");
  settings_.limits = {};
  settings_.limits.rules = 1;
  told = problem_of(grant_text("g", "bob"));
  EXPECT_THAT(told.at("message").get<std::string>(), HasSubstr(" rules, and 1 are left of --max-rules 1"));
  EXPECT_EQ(told.at("accepted"), "fewer destinations, or a higher limit");
  settings_.limits = {};
  settings_.limits.flows = 1;
  told = problem_of(grant_text("bob", "bob") + workload_text("web", "veth0", "10.20.0.2"));
  EXPECT_THAT(told.at("message").get<std::string>(), HasSubstr(" flows, and 1 are left of --max-flows 1"));
  EXPECT_THAT(told.at("accepted").get<std::string>(), StartsWith("fewer Grants with guests on this node, "));
}

}  // namespace
}  // namespace grantd
