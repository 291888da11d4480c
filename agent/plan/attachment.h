// Which program stands where.
#pragma once

#include <compare>
#include <cstdint>

namespace grantd {

enum class Hook : std::uint8_t { FromGuest, ToGuest, FromUplink, Connect4, Connect6, SkbEgress, SkbIngress, FromQueue };

// Those of a guest's interface, in the order in which they are attached.
inline constexpr Hook kGuestHooks[] = {Hook::FromGuest, Hook::ToGuest};
constexpr bool is_guest_hook(Hook hook) { return hook == Hook::FromGuest || hook == Hook::ToGuest; }

struct Attachment {
  Hook hook = Hook::FromGuest;
  std::uint32_t ifindex = 0;    // 0 for hooks of a cgroup
  std::uint64_t cgroup_id = 0;  // 0 for hooks of an interface
  auto operator<=>(const Attachment&) const = default;
};

}  // namespace grantd
