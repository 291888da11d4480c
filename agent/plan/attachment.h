// Which program stands where.
#pragma once

#include <compare>
#include <cstdint>
#include <set>

namespace grantd {

enum class Hook : std::uint8_t { FromGuest, ToGuest, FromUplink, Connect4, Connect6, SkbEgress, SkbIngress, FromQueue };

inline constexpr Hook kHooks[] = {Hook::FromGuest, Hook::ToGuest,   Hook::FromUplink, Hook::Connect4,
                                  Hook::Connect6,  Hook::SkbEgress, Hook::SkbIngress, Hook::FromQueue};
// Those of a guest's interface, in the order in which they are attached.
inline constexpr Hook kGuestHooks[] = {Hook::FromGuest, Hook::ToGuest};
// Those of a guest's cgroup: of every guest's, and besides of one on the host network.
inline constexpr Hook kConnectHooks[] = {Hook::Connect4, Hook::Connect6};
inline constexpr Hook kSocketHooks[] = {Hook::SkbEgress, Hook::SkbIngress};
constexpr bool is_guest_hook(Hook hook) { return hook == Hook::FromGuest || hook == Hook::ToGuest; }

struct Attachment {
  Hook hook = Hook::FromGuest;
  std::uint32_t ifindex = 0;    // 0 for hooks of a cgroup
  std::uint64_t cgroup_id = 0;  // 0 for hooks of an interface
  auto operator<=>(const Attachment&) const = default;
};

// Where programs of ours stand: those that see a packet before all others, and those that somebody has got before.
struct Attachments {
  std::set<Attachment> first, behind;
};

}  // namespace grantd
