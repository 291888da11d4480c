// A command line, an environment and a file of settings, and what is said of them.
#pragma once

#include "agent/settings/settings.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace grantd {

class SettingsTest : public testing::Test {
 protected:
  ~SettingsTest() override {
    for (const std::string& each : environment_) unsetenv(each.c_str());
    std::filesystem::remove(file_);
  }

  void environment(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    environment_.push_back(name);
  }
  void file(const std::string& text) { std::ofstream(file_) << text; }

  ParsedSettings parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "grantd");
    if (std::filesystem::exists(file_)) arguments.insert(arguments.begin() + 1, {"--config", file_});
    std::vector<const char*> pointers;
    for (const std::string& each : arguments) pointers.push_back(each.c_str());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    ParsedSettings parsed =
        parse_settings(static_cast<int>(pointers.size()), pointers.data(), directory_.path("grantd.toml").c_str());
    said_ = testing::internal::GetCapturedStdout();
    complained_ = testing::internal::GetCapturedStderr();
    return parsed;
  }

  Settings accepted(const std::vector<std::string>& arguments) {
    const ParsedSettings parsed = parse(arguments);
    EXPECT_EQ(parsed.exit_code, -1) << complained_;
    return parsed.settings;
  }
  Settings run_with(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "--manifests", "/m"});
    return accepted(arguments);
  }
  // The message; "" where nothing was refused.
  std::string refused(const std::vector<std::string>& arguments) {
    const ParsedSettings parsed = parse(arguments);
    EXPECT_EQ(parsed.exit_code, 2);
    return parsed.exit_code == 2 ? complained_ : "";
  }
  std::string refused_run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "--manifests", "/m"});
    return refused(arguments);
  }

  std::string said_, complained_;
  TemporaryDirectory directory_;  // of the usual file

 private:
  std::vector<std::string> environment_;
  const std::string file_ = testing::TempDir() + "grantd-settings-" + std::to_string(getpid()) + ".toml";
};

}  // namespace grantd
