#include "crd-sync/last_good.h"

#include "tests/unit/temporary_directory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

namespace grantd {
namespace {

const char kRealm[] =
    "apiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: bob}\nspec:\n  identity: b\n"
    "  addresses:\n    - 192.0.2.0/24\n    # none\n    - 198.51.100.0/24\n";

LastGood sample() {
  ReadResult read = read_manifests({"dir/a file.yaml", std::string("# one\n---\nx: y\n---\n") + kRealm});
  LastGood objects;
  for (const ManifestObject& object : read.objects) objects[object.id] = {object.position(), object.text, {}};
  return objects;
}

TEST(LastGood, AnObjectReadsBackWithItsPositions) {
  const LastGood objects = sample();
  ASSERT_EQ(objects.size(), 1u);
  const auto parsed = parse_last_good(last_good_text(objects));
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& [id, kept] = *parsed.value().begin();
  EXPECT_EQ(id.text(), "Realm bob");
  const auto object = read_kept(id, kept);
  ASSERT_TRUE(object) << object.error().message;
  const Realm& realm = std::get<Realm>(object.value().value);
  EXPECT_EQ(realm.position.file, "dir/a file.yaml");
  EXPECT_EQ(realm.position.line, 5);
  EXPECT_EQ(realm.position.document, 2);
  ASSERT_EQ(realm.addresses.size(), 2u);
  EXPECT_EQ(realm.addresses[0].position.line, 11);
  EXPECT_EQ(realm.addresses[1].position.line, 13);
  EXPECT_EQ(object.value().text, kept.text);
}

TEST(LastGood, AnyDamageIsNoticed) {
  const std::string text = last_good_text(sample());
  ASSERT_TRUE(parse_last_good(text));
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_FALSE(parse_last_good(damaged)) << at;
    EXPECT_FALSE(parse_last_good(text.substr(0, at))) << at;
  }
  EXPECT_FALSE(parse_last_good(text + "x"));
}

TEST(LastGood, WhatIsKeptMustBeTheObjectOfItsName) {
  const LastGood objects = sample();
  const KeptObject& kept = objects.begin()->second;
  EXPECT_TRUE(read_kept({ResourceKind::Realm, "bob"}, kept));
  EXPECT_FALSE(read_kept({ResourceKind::Realm, "carol"}, kept));
  EXPECT_FALSE(read_kept({ResourceKind::Realm, "bob"}, {kept.position, "{", {}}));
  EXPECT_FALSE(read_kept({ResourceKind::Realm, "bob"}, {kept.position, "", {}}));
}

RC_GTEST_PROP(LastGood, AnyTextIsReadOrRefusedWithoutHarm, (const std::string& text)) {
  RC_ASSERT(!parse_last_good(text));
}

TEST(LastGoodFile, IsKeptWholeAndOnlyWrittenWhenItChanges) {
  const TemporaryDirectory directory;
  const std::string state = directory.path() + "/state";
  LastGoodFile file(state);
  ASSERT_TRUE(file.load());
  EXPECT_TRUE(file.load().value().empty());

  ASSERT_TRUE(file.save(sample()));
  EXPECT_EQ(LastGoodFile(state).load().value().size(), 1u);
  struct stat before {
  }, after{};
  ASSERT_EQ(stat((state + "/last-good").c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 0777, 0600u);
  ASSERT_TRUE(file.save(sample()));
  ASSERT_EQ(stat((state + "/last-good").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino) << "was written again";
  ASSERT_TRUE(file.save({}));
  EXPECT_TRUE(LastGoodFile(state).load().value().empty());
  EXPECT_EQ(directory.names("state"), (std::vector<std::string>{"last-good"}));
}

TEST(LastGoodFile, DamageAndUnwritablePlacesAreErrors) {
  const TemporaryDirectory directory;
  directory.write("last-good", "grantd-last-good 9 x\n");
  const auto damaged = LastGoodFile(directory.path()).load();
  ASSERT_FALSE(damaged);
  EXPECT_NE(damaged.error().message.find("/last-good: is damaged"), std::string::npos) << damaged.error().message;
  EXPECT_FALSE(LastGoodFile(directory.path() + "/last-good").save({}));
  EXPECT_FALSE(LastGoodFile(directory.path() + "/no/such").save({}));
}

}  // namespace
}  // namespace grantd
