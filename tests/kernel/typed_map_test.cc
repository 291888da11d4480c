// Reading a whole map in pieces: every kind that is read so gives each entry once.
#include "maps/kernel/typed_map.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <map>

namespace grantd {
namespace {

struct LpmKey {
  std::uint32_t prefix_bits;
  std::uint32_t address;
  auto operator<=>(const LpmKey&) const = default;
};

template <typename Key>
TypedMap<Key, std::uint64_t> made(bpf_map_type type, std::uint32_t max_entries, std::uint32_t flags = 0) {
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.map_flags = flags;
  Descriptor map(bpf_map_create(type, "grantd_test", sizeof(Key), sizeof(std::uint64_t), max_entries, &options));
  auto adopted = TypedMap<Key, std::uint64_t>::adopt(std::move(map), "grantd_test");
  EXPECT_TRUE(adopted.ok()) << adopted.error().message;
  return std::move(adopted).value();
}

template <typename Key>
void expect_all(const TypedMap<Key, std::uint64_t>& map, const std::map<Key, std::uint64_t>& wanted) {
  auto entries = map.entries();
  ASSERT_TRUE(entries.ok()) << entries.error().message;
  EXPECT_EQ(entries.value().size(), wanted.size()) << "one was left out, or came twice";
  EXPECT_EQ((std::map<Key, std::uint64_t>(entries.value().begin(), entries.value().end())), wanted);
}

TEST(TypedMap, AHashIsReadInPieces) {
  const auto map = made<std::uint32_t>(BPF_MAP_TYPE_HASH, 5000, BPF_F_NO_PREALLOC);
  std::map<std::uint32_t, std::uint64_t> wanted;
  expect_all(map, wanted);
  for (std::uint32_t key = 0; key < 3000; key++) {
    ASSERT_TRUE(map.put(key * 7, key).ok());
    wanted[key * 7] = key;
  }
  expect_all(map, wanted);
}

TEST(TypedMap, ATrieIsReadInPieces) {
  const auto map = made<LpmKey>(BPF_MAP_TYPE_LPM_TRIE, 5000, BPF_F_NO_PREALLOC);
  std::map<LpmKey, std::uint64_t> wanted;
  expect_all(map, wanted);
  for (std::uint32_t at = 0; at < 1000; at++) {
    ASSERT_TRUE(map.put({32, at}, at).ok());
    wanted[{32, at}] = at;
  }
  expect_all(map, wanted);
}

TEST(TypedMap, AnArrayIsReadInPiecesThatDoNotEndWithIt) {
  const auto map = made<std::uint32_t>(BPF_MAP_TYPE_ARRAY, 1000);
  std::map<std::uint32_t, std::uint64_t> wanted;
  for (std::uint32_t at = 0; at < 1000; at++) {
    ASSERT_TRUE(map.put(at, at * 3).ok());
    wanted[at] = at * 3;
  }
  expect_all(map, wanted);
}

}  // namespace
}  // namespace grantd
