// The reference model: what the datapath must say of each packet, as plainly as it can be put. Every packet is held to
// the manifests as they are now; flows and fragments are entries of a map, time is a number that is handed in.
#pragma once

#include "tests/model/frame.h"
#include "tests/model/meaning.h"

#include <map>
#include <optional>
#include <string>
#include <tuple>

namespace grantd::model {

enum class Program { FromGuest, ToGuest, FromUplink };

// A packet at one hook.
struct Arrival {
  Program program = Program::FromGuest;
  std::uint32_t ifindex = 0;
  bool from_outside = false;  // it came in through an interface; else a socket of this host sent it
  Who stamped;                // who the mark says, as the datapath's own from_uplink or from_guest has left it
  Bytes frame;
  std::uint32_t gso_bytes = 0, gso_segments = 0;
  std::uint32_t neighbour_ifindex = 0;  // of the guest on the same bridge that sent it; 0: nobody has
};

struct Opinion {
  Reason reason = GRANTD_REASON_FELL_THROUGH;
  std::string grant;                     // in whose counters; "" for those of nobody's Grant
  Who stamp;                             // on what leaves a guest, and on what from_uplink passes
  std::uint64_t packets = 1, bytes = 0;  // on the wire
  bool charged = false;                  // it pays, so that an empty bucket may drop it
};

// What the agent has published of a Grant, as the ABI of its maps says. When it publishes is the agent's to choose;
// what is published is held against the manifests.
struct Published {
  std::uint64_t policy_id = 0;
  std::uint32_t realm_epoch = 0;
  std::uint32_t flow_table = 0, fragment_table = 0;  // another one begins empty
  bool operator==(const Published&) const = default;
};

struct FlowKey {
  std::uint32_t endpoint_id = 0;
  unsigned protocol = 0;
  bool echo_of_peer = false;
  IpAddress local, peer;
  unsigned local_port = 0, peer_port = 0;
  auto operator<=>(const FlowKey&) const = default;
};

struct Flow {
  bool by_guest = false;
  Who peer;                       // who the peer was, of a flow that it began
  std::uint64_t policy_id = 0;    // under which it was last admitted
  std::uint32_t realm_epoch = 0;  // 0: replies wait for the peer
  BootNanoseconds seen = 0;
  bool closing = false;
};

struct FragmentKey {
  std::uint32_t endpoint_id = 0;
  bool egress = false;
  IpAddress source, destination;
  unsigned protocol = 0;
  std::uint32_t id = 0;
  auto operator<=>(const FragmentKey&) const = default;
};

struct Fragment {
  std::uint64_t policy_id = 0;
  std::size_t header_bytes = 0;
  Who from;  // who the later ones must come from too; "" for anybody
  BootNanoseconds seen = 0;
};

struct Tables {
  std::map<FlowKey, Flow> flows;
  std::map<FragmentKey, Fragment> fragments;
};

class Model {
 public:
  // The manifests and what was published for them, by Grant; the endpoints' ids by interface; the parties' numbers.
  // Whoever has another number than before is another, as far as what is remembered goes.
  void apply(const Meaning& meaning, const std::map<std::string, Published>& published,
             const std::map<std::uint32_t, std::uint32_t>& endpoint_ids, const std::map<Who, std::uint32_t>& numbers);
  // Who has lost an address since, and has the same number in `numbers`: flows of before cannot be told by it.
  std::optional<Who> loser_with_its_number(const Meaning& meaning, const std::map<Who, std::uint32_t>& numbers) const;
  Opinion judge(const Arrival& arrival, BootNanoseconds boot, WallTime wall);

  // The packet last judged was not sent after all: its bucket was empty. A flow that it began, or that was judged again
  // for it, stays; one that it only follows is as before. A first fragment is not remembered.
  void not_sent();

  // As if this long had passed for everything that is remembered.
  void age(BootNanoseconds by);
  // An age at which nothing is so near to being forgotten that the time of the test itself would decide.
  bool decided_at(BootNanoseconds now, BootNanoseconds by) const;
  std::map<std::string, Tables>& tables() { return tables_; }
  const std::map<std::string, Tables>& tables() const { return tables_; }
  const Meaning& meaning() const { return meaning_; }
  const Published& published(const std::string& grant) const { return published_.at(grant); }

 private:
  struct Case;  // one packet on its way through

  void forget(const Who& who);
  Reason decide(Case& one, Opinion& opinion);
  MaybeReason own_address(const Case& one) const;
  MaybeReason in_force(const Case& one) const;
  static MaybeReason group_frame(const Case& one);
  static MaybeReason impossible_peer(const Case& one);
  Reason arp(const Case& one) const;
  Reason neighbour(const Case& one) const;
  MaybeReason neighbour_from_guest(const Case& one) const;
  MaybeReason neighbour_to_guest(const Case& one) const;
  bool is_of_another_grant(const Case& one) const;
  Reason later_fragment(Case& one);
  Reason icmp_error(Case& one);
  Reason flow(Case& one);
  Reason begin(Case& one, const FlowKey& key);
  MaybeReason judge_initiator(const Case& one, bool by_guest, const FlowKey& key, const Who& peer) const;
  static FlowKey key_of(const Case& one);
  static BootNanoseconds idle(const FlowKey& key, const Flow& flow);

  Meaning meaning_;
  std::map<std::string, Published> published_;
  std::map<std::uint32_t, std::uint32_t> endpoint_ids_;
  std::map<Who, std::uint32_t> numbers_;  // the last that each had
  std::map<std::string, Tables> tables_;
  struct Undo {
    std::string grant;
    std::optional<std::pair<FragmentKey, std::optional<Fragment>>> fragment;
    std::optional<std::pair<FlowKey, Flow>> flow;
  };
  std::optional<Undo> undo_;
};

}  // namespace grantd::model
