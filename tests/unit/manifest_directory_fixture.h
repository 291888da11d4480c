// A directory of manifests with a state directory beside it, and how a test waits for what the watch tells.
#pragma once

#include "crd-sync/manifest_directory.h"
#include "tests/unit/manifest_texts.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <filesystem>
#include <vector>

namespace grantd::manifests_test {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Clock = std::chrono::steady_clock;

inline const std::string kAlice = realm_text("alice", "192.0.2.0/24");
inline const std::string kBob = realm_text("bob-home", "198.51.100.0/24");

inline std::vector<std::string> names(const DesiredState& desired) {
  std::vector<std::string> all;
  for (const Realm& realm : desired.realms) all.push_back(realm.name);
  return all;
}

inline std::vector<std::string> errors(const DesiredState& desired) {
  std::vector<std::string> all;
  for (const Problem& problem : desired.problems)
    if (problem.severity == Severity::Error) all.push_back(problem.text());
  return all;
}

inline std::vector<std::string> warnings(const DesiredState& desired) {
  std::vector<std::string> all;
  for (const Problem& problem : desired.problems)
    if (problem.severity == Severity::Warning) all.push_back(problem.text());
  return all;
}

// Waits as the agent's loop does. False: nothing was told in that time.
inline bool told_of_change(ManifestDirectory& manifests, std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  while (Clock::now() < end) {
    const auto fds = manifests.fds();
    std::vector<pollfd> wait;
    for (const int fd : fds) wait.push_back({fd, POLLIN, 0});
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (poll(wait.data(), wait.size(), static_cast<int>(left.count()) + 1) > 0 && manifests.drain()) return true;
  }
  return false;
}

class ManifestDirectoryTest : public testing::Test {
 protected:
  ManifestDirectoryTest() { std::filesystem::create_directory(path()); }

  std::string path() const { return root_.path("manifests"); }
  std::string path(const std::string& name) const { return path() + "/" + name; }
  void write(const std::string& name, const std::string& text) const { root_.write("manifests/" + name, text); }

  ManifestDirectory open() {
    auto opened = ManifestDirectory::open(path(), root_.path("state"));
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(opened).value();
  }

  // An edit must be told, and what it left must be what is loaded.
  DesiredState after_change(ManifestDirectory& manifests) {
    EXPECT_TRUE(told_of_change(manifests, 2s));
    return manifests.load().value();
  }

  TemporaryDirectory root_;
};

}  // namespace grantd::manifests_test
