// Wall and boot clock. A step of the wall clock would be one for the whole machine, so none is made here.
#include "agent/node/clock.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>

namespace grantd {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

std::uint64_t distance(std::uint64_t one, std::uint64_t other) { return one > other ? one - other : other - one; }

NodeClock clock_with(std::uint64_t known_offset) {
  auto opened = NodeClock::open(known_offset);
  EXPECT_TRUE(opened) << opened.error().message;
  return std::move(opened).value();
}

TEST(NodeClock, TellsTheWallClockFromTheBootClock) {
  const NodeClock clock = clock_with(0);
  const auto wall = clock.wall(boot_now());
  EXPECT_LT(std::chrono::abs(wall - std::chrono::system_clock::now()), std::chrono::milliseconds(50));
  EXPECT_EQ(clock.wall(5'000) - clock.wall(2'000), std::chrono::nanoseconds(3'000));
}

TEST(NodeClock, KeepsAnOffsetThatIsStillRight) {
  const std::uint64_t measured = clock_with(0).boot_to_wall_ns();
  for (const std::uint64_t near : {measured - 9 * kMillisecond, measured, measured + 9 * kMillisecond}) {
    NodeClock clock = clock_with(near);
    EXPECT_EQ(clock.boot_to_wall_ns(), near);
    EXPECT_FALSE(clock.drain()) << "nobody set the clock";
    EXPECT_EQ(clock.boot_to_wall_ns(), near);
  }
}

TEST(NodeClock, MeasuresAnewWhereTheOffsetIsOfAnotherTime) {
  const std::uint64_t measured = clock_with(0).boot_to_wall_ns();
  for (const std::uint64_t far : {measured - 12 * kMillisecond, measured + 12 * kMillisecond,
                                  measured + 3600'000 * kMillisecond, std::uint64_t{1}, ~std::uint64_t{0}})
    EXPECT_LT(distance(clock_with(far).boot_to_wall_ns(), measured), kMillisecond) << far;
}

TEST(NodeClock, IsQuietWhileNobodySetsTheClock) {
  NodeClock clock = clock_with(0);
  pollfd readable{clock.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&readable, 1, 0), 0);
  EXPECT_FALSE(clock.drain());
  EXPECT_EQ(poll(&readable, 1, 0), 0);
}

}  // namespace
}  // namespace grantd
