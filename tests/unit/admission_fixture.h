// What admission makes of manifests that are edited.
#pragma once

#include "crd-sync/admission.h"
#include "tests/unit/manifest_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace grantd {

inline const std::string kAlice = realm_text("alice", "192.0.2.0/24");
inline const std::string kBob = realm_text("bob-home", "198.51.100.0/24");

// Files that are edited between loads, as ManifestDirectory sees them.
class AdmissionTest : public testing::Test {
 protected:
  void load() {
    std::vector<std::shared_ptr<const ReadResult>> reads;
    for (const auto& [path, text] : files_) reads.push_back(std::make_shared<ReadResult>(read_manifests({path, text})));
    Admitted admitted = admit(reads, last_good_, protected_ranges_);
    // As after a restart: what is kept comes from its form on disk.
    auto kept = parse_last_good(last_good_text(admitted.last_good));
    ASSERT_TRUE(kept) << kept.error().message;
    last_good_ = std::move(kept).value();
    desired_ = std::move(admitted.desired);
  }

  void load(const std::string& text) {
    files_ = {{"a.yaml", text}};
    load();
  }

  std::vector<std::string> texts(Severity severity) const {
    std::vector<std::string> all;
    for (const Problem& problem : desired_.problems)
      if (problem.shown() == severity) all.push_back(problem.text());
    return all;
  }
  std::vector<std::string> errors() const { return texts(Severity::Error); }
  std::vector<std::string> warnings() const { return texts(Severity::Warning); }

  // Each object that stands, with the one value that the tests edit.
  std::map<std::string, std::string> standing() const {
    std::map<std::string, std::string> all;
    for (const Realm& realm : desired_.realms)
      all[realm.name] = realm.addresses.empty() ? "" : realm.addresses[0].prefix.text();
    for (const Grant& grant : desired_.grants)
      all[grant.name] = grant.grantee_realm + (grant.revoked ? " revoked" : "");
    for (const Workload& workload : desired_.workloads) all[workload.name] = workload.interface;
    return all;
  }
  using Standing = std::map<std::string, std::string>;

  std::map<std::string, std::string> files_;
  LastGood last_good_;
  std::vector<IpPrefix> protected_ranges_;
  DesiredState desired_;
};

}  // namespace grantd
