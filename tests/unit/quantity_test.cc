#include "crd-sync/quantity.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

TEST(Quantity, ReadsWhatKubernetesReads) {
  const struct {
    const char* text;
    Quantity value;
  } cases[] = {
      {"0", {0, 0}},
      {"2", {2, 0}},
      {"+2", {2, 0}},
      {"500m", {0, 500'000'000}},
      {"1500m", {1, 500'000'000}},
      {"1.5", {1, 500'000'000}},
      {".5", {0, 500'000'000}},
      {"5.", {5, 0}},
      {"100M", {100'000'000, 0}},
      {"4Gi", {4ULL << 30, 0}},
      {"1.5Gi", {3ULL << 29, 0}},
      {"1k", {1000, 0}},
      {"1e3", {1000, 0}},
      {"1E3", {1000, 0}},
      {"1E", {1'000'000'000'000'000'000, 0}},
      {"5e-1", {0, 500'000'000}},
      {"1n", {0, 1}},
      {"3u", {0, 3000}},
      {"7Ei", {7ULL << 60, 0}},
      {"9223372036854775806", {9223372036854775806ULL, 0}},
      {"000000000000000000000000000000000000000000001", {1, 0}},
      {"0e999", {0, 0}},
      {"0e-999999999", {0, 0}},
      {"100000000000000000000e-20", {1, 0}},
      {"1.50000000000000000000000000000000000000000000", {1, 500'000'000}},
      {"20.0000000000000000000000000000000000000000000", {20, 0}},
      {"1.50000000000000000000000000000000000000000000Ei", {3ULL << 59, 0}},
      {"1000000000000000000000000000000000000000000e-42", {1, 0}},
      {"1000000000000000000000000000000000000000000.000e-42", {1, 0}},
      {"1e0000000003", {1000, 0}},
      {"1e+0000000003", {1000, 0}},
      {"1e-0000000003", {0, 1'000'000}},
      {"1e0000000000", {1, 0}},
  };
  for (const auto& test : cases) {
    const auto quantity = parse_quantity(test.text);
    ASSERT_TRUE(quantity) << test.text << " " << quantity.error().message;
    EXPECT_EQ(quantity.value().whole, test.value.whole) << test.text;
    EXPECT_EQ(quantity.value().nano, test.value.nano) << test.text;
  }
}

TEST(Quantity, RefusesEverythingElse) {
  for (const char* text : {"",
                           "+",
                           "-",
                           "-1",
                           ".",
                           "1.2.3",
                           "M",
                           "1 M",
                           " 1",
                           "1 ",
                           "1Mb",
                           "1MB",
                           "1ki",
                           "1K",
                           "1mi",
                           "1e",
                           "1e+",
                           "1e1.5",
                           "1e1000",
                           "1e3Ki",
                           "0x10",
                           "1_000",
                           "1,5",
                           "NaN",
                           "inf",
                           "++1",
                           "1\n",
                           "9223372036854775807",
                           "9223372036854775808",
                           "1e400",
                           "1e999999999",
                           "1e-999999999",
                           "1e9999999999",
                           "8Ei",
                           "10E",
                           "1e19",
                           "340282366920938463463374607431768211456",
                           "99999999999999999999999999999999999999999999",
                           "0.1n",
                           "1e-10",
                           "1.0000000001"})
    EXPECT_FALSE(parse_quantity(text)) << text;
}

RC_GTEST_PROP(Quantity, SuffixesAgreeWithArithmetic, ()) {
  const auto number = *rc::gen::inRange<std::uint64_t>(0, 9'000'000);
  static const std::vector<std::pair<std::string, std::uint64_t>> kFactors = {{"", 1},
                                                                              {"k", 1000},
                                                                              {"M", 1'000'000},
                                                                              {"G", 1'000'000'000},
                                                                              {"Ki", 1ULL << 10},
                                                                              {"Mi", 1ULL << 20},
                                                                              {"Gi", 1ULL << 30},
                                                                              {"e3", 1000},
                                                                              {"e6", 1'000'000}};
  const auto [suffix, factor] = *rc::gen::elementOf(kFactors);
  RC_ASSERT(parse_quantity(std::to_string(number) + suffix).value() == (Quantity{number * factor, 0}));
}

RC_GTEST_PROP(Quantity, AnyTextIsReadOrRefusedWithoutHarm, (const std::string& text)) {
  const auto quantity = parse_quantity(text);
  if (quantity) {
    RC_ASSERT(quantity.value().nano < 1'000'000'000u);
    RC_ASSERT(quantity.value().whole <= (1ULL << 63) - 2);
  }
}

TEST(Bandwidth, IsWholeAndWithinWhatTheDatapathHolds) {
  EXPECT_EQ(parse_bandwidth("100M").value(), 100'000'000u);
  EXPECT_EQ(parse_bandwidth("1.5M").value(), 1'500'000u);
  EXPECT_EQ(parse_bandwidth("1Mi").value(), 1u << 20);
  EXPECT_EQ(parse_bandwidth("8k").value(), 8000u);
  EXPECT_EQ(parse_bandwidth("400G").value(), 400'000'000'000u);
  for (const char* text : {"0", "7999", "400000000001", "8000500m", "-100M", "fast", "1E"})
    EXPECT_FALSE(parse_bandwidth(text)) << text;
}

TEST(Burst, HoldsAtLeastOneOffloadedPacket) {
  EXPECT_EQ(parse_burst("1Mi").value(), 1u << 20);
  EXPECT_EQ(parse_burst("128Ki").value(), 131072u);
  EXPECT_EQ(parse_burst("64Gi").value(), 64ULL << 30);
  for (const char* text : {"0", "131071", "64k", "65Gi", "1.5"}) EXPECT_FALSE(parse_burst(text)) << text;
}

}  // namespace
}  // namespace grantd
