#include "agent/handover/run_settings.h"

#include "tests/unit/desired_samples.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>

#include <fstream>

namespace grantd {
namespace {

using testing::HasSubstr;

class RunSettingsTest : public testing::Test {
 protected:
  void write(const std::string& text) { std::ofstream(run_settings_path(state_dir_)) << text; }
  TemporaryDirectory directory_;
  const std::string state_dir_ = directory_.path();
  const RunSettings told_{"/sys/fs/bpf/grantd",
                          "/etc/grantd/manifests",
                          {desired::prefix("10.42.0.0/16")},
                          {desired::prefix("10.43.0.0/16"), desired::prefix("fd00::/108")},
                          {{"tailscale0", GRANTD_UPLINK_TAILNET}, {"en*", GRANTD_UPLINK_LAN}}};
};

TEST_F(RunSettingsTest, AreReadAsTheyWereKept) {
  EXPECT_EQ(read_run_settings(state_dir_).value(), std::nullopt);
  ASSERT_TRUE(keep_run_settings(state_dir_, told_).ok());
  EXPECT_EQ(read_run_settings(state_dir_).value(), told_);
}

TEST_F(RunSettingsTest, SayHowPodsAreFound) {
  RunSettings told = told_;
  told.cluster = {"node-1", "guest-*", "/run/grantd/cni", "/var/lib/cni/results", "auto"};
  ASSERT_TRUE(keep_run_settings(state_dir_, told).ok());
  EXPECT_EQ(read_run_settings(state_dir_).value(), told);
  ASSERT_TRUE(keep_run_settings(state_dir_, told_).ok());
  EXPECT_EQ(read_run_settings(state_dir_).value(), told_);
}

TEST_F(RunSettingsTest, WhatIsDamagedSaysSoAndIsWrittenAnew) {
  for (const char* text :
       {"{", "[]", R"({"version": 2})",
        R"({"version": 1, "pod_cidrs": ["10.0.0.1/8"], "service_cidrs": [], "uplinks": []})",
        R"({"version": 1, "pod_cidrs": [], "service_cidrs": [7], "uplinks": []})",
        R"({"version": 1, "pod_cidrs": [], "service_cidrs": [], "uplinks": [{"interface": "eth0", "class": 5}]})",
        R"({"version": 1, "pod_cidrs": [], "service_cidrs": []})",
        R"({"version": 1, "pod_cidrs": [], "service_cidrs": [], "uplinks": [], "network_namespace": 1,
            "clock_trusted": true, "cluster": {"node": "one", "guest_namespaces": "guest-*"}})"}) {
    write(text);
    const auto read = read_run_settings(state_dir_);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_THAT(read.error().message, HasSubstr("settings.json: is damaged"));
  }
  ASSERT_TRUE(keep_run_settings(state_dir_, told_).ok());
  EXPECT_EQ(read_run_settings(state_dir_).value(), told_);
}

}  // namespace
}  // namespace grantd
