// What a guest sends goes on only if from_guest has judged it (decision 69). A guest that may configure its own network
// can have the kernel pass a packet by all that stands at tc, and so can whoever gets before our program; none of them
// can give a packet a mark on its way over the link, and whatever from_guest lets pass has one. So nftables drop,
// before anything else sees it, what comes from a guest's interface with the mark 0: routed, bridged, and ARP.
//
// What is for the node itself and came in a guest's name, but through an uplink or without from_guest's stamp, is
// dropped too: the node's answer would begin a flow that the guest may go on with (decision 72).
#pragma once

#include "agent/gate/gate_table.h"
#include "agent/netlink/netlink.h"
#include "maps/address.h"
#include "maps/result.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace grantd {

inline constexpr const char* kGateTable = "grantd";
// The table of any agent.
bool is_gate_table(std::string_view name);

// By index and name: another one may come to an index while no agent runs.
struct GatedInterface {
  std::uint32_t ifindex = 0;
  std::string name;
  auto operator<=>(const GatedInterface&) const = default;
};

struct Gated {
  std::set<GatedInterface> guests, uplinks;
  std::set<IpAddress> addresses;  // of the guests
  bool operator==(const Gated&) const = default;
};

// Packets that it has dropped: of a guest's interface, and in the name of a guest's address. Who had none is left out.
struct GateDrops {
  std::map<GatedInterface, std::uint64_t> unjudged;
  std::map<IpAddress, std::uint64_t> forged;
};

class Gate {
 public:
  // One table for each pin root, in each family, in the network namespace of the caller. `stamp_mask` as of the
  // datapath.
  Gate(const std::string& pin_root, std::uint32_t stamp_mask);

  // These are behind it and no others, in each family by itself. Only what changed is done, unless `look`:
  // then what somebody else has changed is mended too. Where a family fails the others are kept all the same; of the
  // errors one that may pass is returned, and the next call looks.
  Result<void> keep(const Gated& gated, bool look);
  // Whether all that was asked for last is behind it, as far as is known: a look that failed, and may succeed soon,
  // says nothing.
  bool stands() const;
  // Whether to try again soon may help: not where the kernel lacks a family, or refuses the right.
  static bool may_pass(const Error& error);
  // What is not there is no error.
  Result<void> remove();
  // What the kernel has behind it; nothing where somebody has changed it or taken it away.
  Result<std::optional<Gated>> standing() const;

  // In all, as of the last look.
  GateDrops dropped() const { return by_subject(dropped_); }
  // As the kernel counts now, which is since it was made anew last. Where there is none, or the kernel knows no
  // nf_tables, it has dropped nothing.
  Result<GateDrops> read_dropped() const;
  // Times that somebody had changed it, or taken it away.
  std::uint64_t mended() const { return mended_; }

 private:
  using Elements = std::set<GateElement>;
  using Counts = std::map<GateElement, std::uint64_t>;
  struct Standing {
    bool whole = false;  // but for the elements it is as it was put
    Elements elements;
    Counts packets;
  };
  // What is known of one family's table.
  struct Family {
    explicit Family(std::uint8_t of) : number(of) {}
    std::uint8_t number;
    bool known = false, put = false;  // put: by us, since this began
    bool stands = false;              // when it was read or put last, with all that is wanted
    Elements behind;
    Counts counters;  // as the kernel had them at the last look
  };
  static GateDrops by_subject(const Counts& packets);
  static Elements elements_of(const Gated& gated, std::uint8_t family);
  Result<Standing> read(nl_sock* socket, std::uint8_t family) const;
  Result<void> read_set(nl_sock* socket, std::uint8_t family, GateSetIndex set, Standing& standing) const;
  Result<void> keep_family(nl_sock* socket, Family& family, const Elements& wanted, bool look);
  // Of one of which a look failed.
  static void doubt(Family& family, const Elements& wanted, const Error& error);
  // Again where somebody has changed anything of nftables meanwhile: it may be half of it. Not without end.
  Result<Standing> read_undisturbed(nl_sock* socket, std::uint8_t family) const;
  void count(Family& family, const Counts& packets);

  std::string table_;
  StampSettings stamp_;
  std::array<Family, 3> families_;
  Gated gated_;  // as it was asked for last
  Counts dropped_;
  std::uint64_t mended_ = 0;
};

// Hears of changes to it.
class GateWatch {
 public:
  static Result<GateWatch> open();
  int fd() const { return nl_socket_get_fd(socket_.get()); }  // readable when drain() has something to say; owned
  // Takes all messages. True where one of them is about a table of ours, or where some were lost.
  bool drain();

 private:
  NetlinkSocket socket_;
};

}  // namespace grantd
