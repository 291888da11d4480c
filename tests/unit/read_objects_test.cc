// What the readers make of good objects, and what they warn of.
#include "crd-sync/read_manifests.h"

#include "tests/unit/manifest_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <typename Resource>
std::vector<Resource> all_of(const ReadResult& read) {
  std::vector<Resource> all;
  for (const ManifestObject& object : read.objects)
    if (const auto* value = std::get_if<Resource>(&object.value)) all.push_back(*value);
  return all;
}

ReadResult read(const std::string& text) { return read_manifests({"a.yaml", text}); }

Grant grant_of(const std::string& rest) {
  const auto grants = all_of<Grant>(read(grant_text("bob", "bob-home", rest)));
  return grants.size() == 1 ? grants[0] : Grant{};
}

std::vector<std::string> problems_of(const std::string& text) {
  std::vector<std::string> all;
  for (const Problem& problem : read(text).problems) all.push_back(problem.text());
  return all;
}

ReadResult every_field() {
  std::ifstream file(GRANTD_SOURCE_DIR "/tests/unit/corpus/good/every-field.yaml");
  return read({std::istreambuf_iterator<char>(file), {}});
}

TEST(ReadRealm, TakesEveryField) {
  const auto realms = all_of<Realm>(every_field());
  ASSERT_EQ(realms.size(), 2u);
  const Realm& alice = realms[0];
  EXPECT_EQ(alice.name, "alice-home");
  EXPECT_EQ(alice.identity, "alice-home.example.ts.net");
  ASSERT_EQ(alice.addresses.size(), 3u);
  EXPECT_EQ(alice.addresses[1].prefix.text(), "fd00:a11c:e::/64");
  EXPECT_EQ(alice.addresses[2].prefix.text(), "192.0.2.7/32");
  EXPECT_THAT(alice.uplinks, ElementsAre(UplinkClass::Tailnet, UplinkClass::Lan, UplinkClass::Overlay));
  EXPECT_TRUE(realms[1].uplinks.empty());
  EXPECT_TRUE(realms[1].tailnet.empty());
}

TEST(ReadRealm, KnowsTheNamesOfATailnet) {
  const auto realms = all_of<Realm>(
      read("apiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: b}\nspec: {identity: b, tailnet: "
           "{dnsNames: [bob.example.ts.net], tags: [\"tag:bob\"], nodeIDs: [n1, n2]}}\n"));
  ASSERT_EQ(realms.size(), 1u);
  EXPECT_THAT(realms[0].tailnet.dns_names, ElementsAre("bob.example.ts.net"));
  EXPECT_THAT(realms[0].tailnet.tags, ElementsAre("tag:bob"));
  EXPECT_THAT(realms[0].tailnet.node_ids, ElementsAre("n1", "n2"));
}

TEST(ReadRealm, WarnsOfAPrefixThatIsThereTwice) {
  EXPECT_THAT(problems_of(realm_text("bob", "192.0.2.0/24, 192.0.2.0/25, 192.0.2.0/24")),
              ElementsAre("a.yaml:5 (document 1): warning: Realm bob: spec.addresses[2]: \"192.0.2.0/24\": "
                          "is there twice"));
}

TEST(ReadGrant, TakesEveryField) {
  const auto grants = all_of<Grant>(every_field());
  ASSERT_EQ(grants.size(), 1u);
  const Grant& grant = grants[0];
  EXPECT_EQ(grant.key(), "keystone-system/alice-to-bob-compute");
  EXPECT_EQ(grant.grantor_realm, "alice-home");
  EXPECT_EQ(grant.grantee_realm, "bob-home");
  EXPECT_EQ(grant.hard.size(), 5u);
  EXPECT_EQ(grant.hard.at("requests.nvidia.com/gpu"), "1");
  EXPECT_EQ(grant.egress_bps, 100'000'000u);
  EXPECT_EQ(grant.ingress_bps, 50'000'000u);
  EXPECT_EQ(grant.egress_burst_bytes, 1u << 20);
  EXPECT_EQ(grant.ingress_burst_bytes, 1u << 20);
  EXPECT_TRUE(grant.egress_allowed);
  ASSERT_EQ(grant.destinations.size(), 6u);
  EXPECT_EQ(grant.destinations[2].text, "2001:db8::1");
  EXPECT_EQ(grant.destinations[5].kind, Destination::Kind::Realm);
  EXPECT_THAT(grant.ingress_from, ElementsAre(Party::Grantee, Party::SameGrant));
  EXPECT_FALSE(grant.dns_cluster);
  EXPECT_EQ(grant.valid_from, WallTime(std::chrono::sys_days{std::chrono::year{2025} / 1 / 1}));
  EXPECT_EQ(grant.valid_until, WallTime(std::chrono::sys_days{std::chrono::year{2025} / 12 / 31} + 22h + 500ms));
  EXPECT_TRUE(grant.revoked);
  std::vector<std::string> time_fields;
  for (const WrittenField& field : grant.time_fields)
    time_fields.push_back(field.text + " at " + std::to_string(field.position.line));
  EXPECT_THAT(time_fields, ElementsAre(HasSubstr("spec.validity.validFrom: 2025-01-01T00:00:00Z at "),
                                       HasSubstr("spec.validity.validUntil: 2025-12-31T22:00:00"),
                                       HasSubstr("spec.revoked: true at ")));
  EXPECT_EQ(grant.notice_period, 1h);
  EXPECT_EQ(grant.spec_hash.size(), 16u);
}

TEST(ReadGrant, LeavesSafeDefaults) {
  const auto grants =
      all_of<Grant>(read("apiVersion: keystone.io/v1alpha1\nkind: Grant\nmetadata: {name: bob}\n"
                         "spec: {grantorRealm: alice, granteeRealm: bob-home}\n"));
  ASSERT_EQ(grants.size(), 1u);
  const Grant& grant = grants[0];
  EXPECT_EQ(grant.key(), "keystone-system/bob");
  EXPECT_FALSE(grant.egress_allowed);
  EXPECT_FALSE(grant.revoked);
  EXPECT_FALSE(grant.egress_bps || grant.ingress_bps || grant.egress_burst_bytes || grant.ingress_burst_bytes);
  EXPECT_FALSE(grant.valid_from || grant.valid_until);
  EXPECT_EQ(grant.notice_period, 0s);
  EXPECT_THAT(grant.ingress_from, ElementsAre(Party::Grantee, Party::Grantor, Party::LocalNode, Party::SameGrant));
}

TEST(ReadGrant, HashesTheSpecAndNothingElse) {
  const std::string hash = grant_of("revoked: false, hard: {requests.cpu: 1}").spec_hash;
  EXPECT_EQ(grant_of("hard: {requests.cpu: \"1\"}, revoked: false").spec_hash, hash);
  EXPECT_EQ(grant_of("hard: {requests.cpu: 1.0}, revoked: false").spec_hash, hash);
  EXPECT_NE(grant_of("hard: {requests.cpu: \"2\"}, revoked: false").spec_hash, hash);
  EXPECT_NE(grant_of("hard: {requests.cpu: 1}, revoked: true").spec_hash, hash);
}

TEST(ReadGrant, WarnsOfWhatHasNoEffect) {
  EXPECT_THAT(problems_of(grant_text("bob", "bob-home", "bandwidth: {egressBurst: 1Mi}")),
              ElementsAre(HasSubstr("warning: Grant keystone-system/bob: spec.bandwidth.egressBurst: \"1Mi\": has no "
                                    "effect without spec.hard[\"keystone.io/egress-bandwidth\"]")));
  EXPECT_THAT(problems_of(grant_text("bob", "bob-home",
                                     "networkPolicy: {egressAllowed: false, allowedDestinations: [internet]}")),
              ElementsAre(HasSubstr("is ignored, because egressAllowed is not true")));
  EXPECT_THAT(
      problems_of(grant_text("bob", "bob-home", "networkPolicy: {egressAllowed: false, allowedDestinations: []}")),
      IsEmpty());
}

TEST(ReadGrant, RefusesNumbersThatReadersOfYamlTakeDifferently) {
  for (const char* number : {"007", "00", "1_0", "0x10", "0o10", "07.0"})
    EXPECT_THAT(problems_of(grant_text("bob", "b", "revocation: {noticePeriodSeconds: " + std::string(number) + "}")),
                ElementsAre(HasSubstr("a whole number from 0 to 2592000")))
        << number;
  EXPECT_EQ(grant_of("revocation: {noticePeriodSeconds: 2592000}").notice_period, 720h);
}

TEST(ReadGrant, TakesWholeNumbersHoweverTheyAreWritten) {
  for (const char* number : {"60", "60.0", "60.", "6e1", "6E+1", "+60", "600e-1"}) {
    EXPECT_EQ(grant_of("revocation: {noticePeriodSeconds: " + std::string(number) + "}").notice_period, 60s) << number;
    EXPECT_THAT(problems_of(grant_text("bob", "b", "hard: {requests.cpu: " + std::string(number) + "}")), IsEmpty());
  }
  for (const char* number : {"-1", "2592001", "2592001.0", "1e7", "9223372036854775807", "99999999999999999999"})
    EXPECT_THAT(problems_of(grant_text("bob", "b", "revocation: {noticePeriodSeconds: " + std::string(number) + "}")),
                ElementsAre(AllOf(HasSubstr(number), HasSubstr("a whole number from 0 to 2592000"))))
        << number;
  for (const char* number : {"1.5", "1e-1", ".5", "1e400", ".inf"})
    EXPECT_THAT(problems_of(grant_text("bob", "b", "hard: {requests.cpu: " + std::string(number) + "}")),
                ElementsAre(HasSubstr("is a number as YAML reads it")))
        << number;
}

TEST(ReadWorkload, TakesEveryField) {
  const auto workloads = all_of<Workload>(every_field());
  ASSERT_EQ(workloads.size(), 2u);
  const Workload& web = workloads[0];
  EXPECT_EQ(web.grant, "keystone-system/alice-to-bob-compute");
  EXPECT_EQ(web.interface, "veth-bob");
  ASSERT_EQ(web.addresses.size(), 3u);
  EXPECT_EQ(web.addresses[2].text(), "fe80::2");
  ASSERT_TRUE(web.mac);
  EXPECT_EQ(web.mac->text(), "02:00:00:00:00:01");
  EXPECT_EQ(web.cgroup, "machine.slice/bob-web.scope");
  EXPECT_EQ(workloads[1].grant, "keystone-system/alice-to-bob-compute");
  EXPECT_EQ(workloads[1].interface, "");
  EXPECT_EQ(workloads[1].cgroup, "machine.slice/bob-host.scope");
}

TEST(ReadManifests, TellsOfAnEmptyListWhereItStands) {
  const std::string head = "apiVersion: keystone.io/v1alpha1\nkind: ";
  EXPECT_THAT(problems_of(head + "Realm\nmetadata: {name: bob-home}\nspec:\n  identity: b\n  uplinks: []\n"),
              ElementsAre(AllOf(HasSubstr("a.yaml:6 (document 1)"), HasSubstr("spec.uplinks: is empty"))));
  EXPECT_THAT(
      problems_of(head + "Workload\nmetadata: {name: w}\nspec:\n  grantName: g\n  interface: veth0\n  addresses: []\n"),
      ElementsAre(AllOf(HasSubstr("a.yaml:7 (document 1)"), HasSubstr("spec.addresses: names no address"))));
}

TEST(ReadManifests, TellsWhichObjectsWereBad) {
  const ReadResult result =
      read(realm_text("alice", "1.2.3.4/8") + realm_text("bob", "") + grant_text("g", "bob", "revoked: maybe"));
  ASSERT_EQ(result.refused.size(), 2u);
  EXPECT_EQ(result.refused[0].text(), "Realm alice");
  EXPECT_EQ(result.refused[1].text(), "Grant keystone-system/g");
  EXPECT_EQ(result.objects.size(), 1u);
  EXPECT_TRUE(result.parsed);
  EXPECT_TRUE(result.all_known);
}

TEST(ReadManifests, IgnoresWhatGrantdItselfWrites) {
  const ReadResult result = read("apiVersion: keystone.io/v1alpha1\nkind: GrantNodeStatus\nmetadata: {name: n}\n");
  EXPECT_TRUE(result.all_known);
  ASSERT_EQ(result.problems.size(), 1u);
  EXPECT_EQ(result.problems[0].severity, Severity::Warning);
}

TEST(ReadManifests, BoundsHowMuchIsSaid) {
  std::string fields, documents;
  for (int number = 0; number < 100; ++number) fields += ", x" + std::to_string(number) + ": 1";
  EXPECT_EQ(problems_of(grant_text("bob", "bob-home", "revoked: false" + fields)).size(), 21u);
  EXPECT_THAT(problems_of(grant_text("bob", "bob-home", "revoked: false" + fields)).back(),
              HasSubstr("has more errors"));
  for (int number = 0; number < 1000; ++number) documents += "---\nx\n";
  const auto problems = problems_of(documents);
  EXPECT_EQ(problems.size(), 501u);
  EXPECT_THAT(problems.back(), HasSubstr("has more problems than are shown"));
}

}  // namespace
}  // namespace grantd
