// Which class of the queues stands for what, and what it lets through. Pure.
#pragma once

#include "agent/plan/kernel_state.h"

#include <string>

namespace grantd {

// By number alone, so that an agent that starts again finds its own.
constexpr std::uint32_t kFirstGuestMinor = 0x8000, kGuestNumbers = 0x3fff;
constexpr std::uint32_t kTrialMinor = 0xfffe;  // nobody's: to find out what the kernel has
constexpr std::uint32_t grant_minor(std::uint32_t slot, std::uint32_t direction) {
  return GRANTD_DIRECTIONS * (slot + 1) + direction;
}
constexpr bool has_grant_minor(std::uint32_t slot) { return grant_minor(slot, 1) < kFirstGuestMinor; }
// `number` is the guest's among all that wait here, below kGuestNumbers.
constexpr std::uint32_t guest_minor(std::uint32_t number, std::uint32_t direction) {
  return kFirstGuestMinor + GRANTD_DIRECTIONS * number + direction;
}
constexpr std::uint32_t guest_number(std::uint32_t minor) { return (minor - kFirstGuestMinor) / GRANTD_DIRECTIONS; }
constexpr std::uint32_t class_id(std::uint32_t minor) { return GRANTD_QUEUE_MAJOR << 16 | minor; }
constexpr std::uint32_t minor_of(std::uint32_t class_id) { return class_id & 0xffff; }

// As tc writes it: "queue class 1:8000".
std::string class_text(std::uint32_t minor);

// limit.rate_bps is not 0. A little below the limit, so that the bucket behind it never drops what it lets through.
QueueClass grant_class(const grantd_limit& limit);
// One of `guests` that share it: an equal part is its own, and what others leave. From a guest its flows take turns,
// where the kernel has `fair_queues`.
QueueClass guest_class(const grantd_limit& limit, std::uint32_t direction, std::uint32_t parent, std::size_t guests,
                       bool fair_queues);

}  // namespace grantd
