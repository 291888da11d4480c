// What comes out does not depend on which file an object stands in, nor on the order in which they are read: where
// several objects claim one thing too.
#include "tests/unit/admission_fixture.h"
#include "tests/unit/desired_samples.h"

#include <algorithm>
#include <random>

namespace grantd {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr unsigned kOrders = 200;
constexpr const char* kFiles[] = {"a.yaml", "b.yaml", "c.yaml"};
using Texts = std::vector<std::string>;
using Lines = std::set<std::string>;

std::string opening(const std::string& destination) {
  return "networkPolicy: {egressAllowed: true, allowedDestinations: [\"" + destination + "\"]}";
}

// Two Realms with one prefix, two with one identity, one inside another; a Realm, a Grant and a Workload whose names
// are there twice, the last one also with a mistake; one interface and one address claimed by two Workloads, and an
// interface that one with a mistake in it claims besides.
const Texts kConflicting = {kAlice,
                            kBob,
                            realm_text("inner", "198.51.100.128/25"),
                            realm_text("eve", "203.0.113.0/24"),
                            realm_text("mallory", "203.0.113.0/24"),
                            realm_text("trent", "100.64.1.0/24", "one-identity"),
                            realm_text("victor", "100.64.2.0/24", "one-identity"),
                            realm_text("carol", "100.64.3.0/24"),
                            realm_text("carol", "100.64.4.0/24"),
                            grant_text("bob", "bob-home", opening("203.0.113.0/24:443/TCP")),
                            grant_text("to-eve", "eve", opening("realm:mallory")),
                            grant_text("twice", "bob-home", opening("8.8.8.8/32:ICMP")),
                            grant_text("twice", "bob-home", opening("8.8.4.4/32:53/UDP")),
                            workload_text("web", "veth-a", "10.20.0.1"),
                            workload_text("db", "veth-a", "10.20.0.2"),
                            workload_text("cache", "veth-b", "10.20.0.3"),
                            workload_text("queue", "veth-c", "10.20.0.3"),
                            workload_text("broken", "veth-b", "10.20.0.0/24"),
                            workload_text("two", "veth-d", "10.20.0.5"),
                            workload_text("two", "veth-e", "10.20.0.6"),
                            workload_text("two", "veth-d", "10.20.0.0/24")};

// What may have been in force of these names, with nothing that conflicts.
const Texts kBefore = {kAlice,
                       realm_text("bob-home", "198.51.100.0/25"),
                       realm_text("eve", "203.0.113.0/24"),
                       realm_text("mallory", "203.0.114.0/24"),
                       realm_text("trent", "100.64.1.0/24", "one-identity"),
                       realm_text("carol", "100.64.5.0/24"),
                       grant_text("bob", "bob-home", opening("203.0.113.0/25:443/TCP")),
                       grant_text("to-eve", "eve", opening("realm:mallory")),
                       grant_text("twice", "bob-home", opening("8.8.0.0/16:443/TCP")),
                       workload_text("web", "veth-a", "10.20.0.1"),
                       workload_text("db", "veth-c", "10.20.0.2"),
                       workload_text("cache", "veth-b", "10.20.0.4"),
                       workload_text("broken", "veth-e", "10.20.0.8"),
                       workload_text("two", "veth-d", "10.20.0.3")};

// Each object in a file that chance chooses.
Admitted admitted(Texts objects, const LastGood& last_good, std::mt19937& random) {
  std::shuffle(objects.begin(), objects.end(), random);
  std::map<std::string, std::string> files;
  for (const std::string& text : objects) files[kFiles[random() % std::size(kFiles)]] += text;
  std::vector<std::shared_ptr<const ReadResult>> reads;
  for (const auto& [path, text] : files) reads.push_back(std::make_shared<ReadResult>(read_manifests({path, text})));
  return admit(reads, last_good);
}

// Some of what was in force before, as it comes from its form on disk.
LastGood some_last_good(std::mt19937& random) {
  Texts some;
  for (const std::string& text : kBefore)
    if (random() % 2) some.push_back(text);
  auto kept = parse_last_good(last_good_text(admitted(some, {}, random).last_good));
  EXPECT_TRUE(kept.ok());
  return std::move(kept).value();
}

template <typename Each>
std::string joined(const Each& all) {
  std::string text;
  for (const auto& one : all) text += " " + one.text();
  return text;
}

// What stands and what is refused, without where it is written, which words may quote.
void add_desired(const DesiredState& desired, Lines& lines) {
  for (const Realm& realm : desired.realms) {
    std::string prefixes;
    for (const RealmAddress& address : realm.addresses) prefixes += " " + address.prefix.text();
    lines.insert("Realm " + realm.name + " " + realm.identity + prefixes);
  }
  for (const Grant& grant : desired.grants)
    lines.insert("Grant " + grant.key() + " " + grant.grantee_realm + " " + grant.spec_hash);
  std::string guests = "in this order:";
  for (const Workload& guest : desired.workloads) {
    lines.insert("Workload " + guest.name + " on " + guest.interface + joined(guest.addresses) +
                 (guest.quarantine.empty() ? "" : " closed"));
    guests += " " + guest.name + " on " + guest.interface;
  }
  lines.insert(guests);
  for (const Problem& problem : desired.problems)
    lines.insert((problem.shown() == Severity::Error ? "error: " : "warning: ") + problem.object + " " + problem.field +
                 " " + problem.value);
}

void add_compiled(const CompiledPolicy& policy, Lines& lines) {
  for (const CompiledGrant& grant : policy.grants) {
    std::string rules;
    for (const CompiledRule& rule : grant.rules)
      rules += " " + rule.prefix.text() + " with " + std::to_string(rule.ranges.size());
    for (const CompiledIdentityRule& rule : grant.identity_rules)
      rules += " " + rule.identity.name + " " + std::to_string(rule.direction);
    lines.insert("compiled " + grant.key + rules + (grant.quarantine.empty() ? "" : " closed"));
  }
  for (const RefusedGrant& grant : policy.refused) lines.insert("refused " + grant.key);
  for (const CompiledPrefix& each : policy.prefixes)
    lines.insert("prefix " + each.prefix.text() + " " + std::to_string(each.uplink_class) + " " + each.identity.name);
  for (const CompiledEndpoint& each : policy.endpoints)
    lines.insert("endpoint " + each.guest + " on " + std::to_string(each.ifindex) + " under " + each.grant);
}

Lines lines_of(const DesiredState& desired) {
  NodeFacts node = desired::node();
  node.interfaces.push_back(desired::interface("veth-d", 13));
  node.interfaces.push_back(desired::interface("veth-e", 14));
  Lines lines;
  add_desired(desired, lines);
  add_compiled(compile(desired, node, desired::noon()), lines);
  return lines;
}

TEST(AdmissionOrder, NeverMattersWhereObjectsConflict) {
  std::mt19937 random(1);
  const Lines wanted = lines_of(admitted(kConflicting, {}, random).desired);
  for (const char* refused :
       {"Realm mallory spec.addresses[0]", "Realm victor spec.identity", "Realm carol metadata.name",
        "Grant keystone-system/twice metadata.name", "Workload web spec.interface", "Workload queue spec.addresses[0]",
        "Workload two metadata.name", "Workload broken spec.addresses[0]"})
    ASSERT_THAT(wanted, Contains(HasSubstr(std::string("error: ") + refused))) << "the control";
  for (unsigned order = 0; order < kOrders; order++) {
    SCOPED_TRACE(order);
    ASSERT_EQ(lines_of(admitted(kConflicting, {}, random).desired), wanted);
  }
}

TEST(AdmissionOrder, NeverMattersBesideWhatWasInForce) {
  std::mt19937 random(2);
  std::size_t stayed = 0;
  for (unsigned order = 0; order < kOrders; order++) {
    SCOPED_TRACE(order);
    const LastGood last_good = some_last_good(random);
    const Admitted one = admitted(kConflicting, last_good, random), other = admitted(kConflicting, last_good, random);
    ASSERT_EQ(lines_of(one.desired), lines_of(other.desired));
    for (const Problem& problem : one.desired.problems) stayed += problem.message.starts_with("stays in force");
  }
  EXPECT_GT(stayed, kOrders) << "too little was in force before";
}

}  // namespace
}  // namespace grantd
