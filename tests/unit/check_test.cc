// grantd check: what it says of manifests.
#include "agent/run/check.h"
#include "tests/unit/manifest_texts.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>

#include <sstream>

namespace grantd {
namespace {

using testing::ContainsRegex;

class Check : public testing::Test {
 protected:
  // Standard output of `grantd check` on these manifests, beside the Realms alice and bob.
  std::string out_of(const std::string& text) {
    directory_.write("a.yaml", realm_text("alice", "192.0.2.128/25") + realm_text("bob", "192.0.2.0/25") + text);
    Settings settings;
    settings.paths = {directory_.path("a.yaml")};
    std::ostringstream out, err;
    exit_code_ = check(settings, out, err);
    return out.str();
  }

  TemporaryDirectory directory_;
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

}  // namespace
}  // namespace grantd
