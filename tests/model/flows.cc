// Flows, fragments and ICMP errors: what is remembered, and what it lets through (rules 3, 4, 9 and 10).
#include "tests/model/case.h"

namespace grantd::model {
namespace {

constexpr BootNanoseconds kSecond = 1'000'000'000;
constexpr std::size_t kLongestIcmpError = 1280;  // docs/datapath.md, rule 9: the least MTU of IPv6

// Whether a packet may be the first of a flow.
bool may_begin(const Packet& packet) {
  switch (packet.protocol) {
    case kTcp: {
      const unsigned flags = packet.tcp_flags & (kSyn | kAck | kRst | kFin);
      return flags == kSyn || (flags & (kSyn | kAck | kRst)) == kAck;
    }
    case kUdp:
      return true;
    case kSctp:
      return packet.sctp_init;
    default:
      return packet.icmp == IcmpKind::EchoRequest;
  }
}

// A packet that asks for a connection is judged as its sender's own, whatever flow there is.
bool asks(const Packet& packet) {
  return packet.protocol == kTcp && (packet.tcp_flags & (kSyn | kAck | kRst | kFin)) == kSyn;
}

}  // namespace

BootNanoseconds Model::idle(const FlowKey& key, const Flow& flow) {
  switch (key.protocol) {
    case kTcp:
      return (flow.closing ? 120 : 24 * 3600) * kSecond;
    case kUdp:
      return 180 * kSecond;
    case kSctp:
      return 3600 * kSecond;
    default:
      return 30 * kSecond;
  }
}

FlowKey Model::key_of(const Case& one) {
  const Packet& packet = one.packet;
  FlowKey key{one.endpoint_id, packet.protocol, false, one.local(), one.peer(), 0, 0};
  if (packet.protocol == kIcmp) {
    key.local_port = packet.source_port;
    key.echo_of_peer = (packet.icmp == IcmpKind::EchoRequest) != one.egress;
  } else {
    key.local_port = one.egress ? packet.source_port : packet.destination_port;
    key.peer_port = one.egress ? packet.destination_port : packet.source_port;
  }
  return key;
}

// May the one who began this flow begin it now?
MaybeReason Model::judge_initiator(const Case& one, bool by_guest, const FlowKey& key, const Who& peer) const {
  return by_guest ? meaning_.may_send(*one.grant, key.peer, key.protocol, key.peer_port)
                  : meaning_.may_receive(*one.grant, peer);
}

Reason Model::begin(Case& one, const FlowKey& key) {
  if (const auto why = impossible_peer(one)) return *why;
  if (!may_begin(one.packet)) return GRANTD_REASON_NO_FLOW;
  if (const auto why = judge_initiator(one, one.egress, key, one.from)) return *why;
  const Published& now = one.published(*this);
  const bool closing = one.packet.protocol == kTcp && (one.packet.tcp_flags & (kFin | kRst));
  one.tables(*this).flows[key] = {one.egress, one.egress ? "" : one.from, now.policy_id, now.realm_epoch, one.boot,
                                  closing};
  return GRANTD_REASON_NEW_FLOW;
}

Reason Model::flow(Case& one) {
  const FlowKey key = key_of(one);
  auto& flows = one.tables(*this).flows;
  const auto found = flows.find(key);
  const Published& now = one.published(*this);
  const auto with_fragment = [&](Reason reason) {
    if (reason >= GRANTD_REASON_FIRST_DROP || !one.packet.first_fragment()) return reason;
    const FragmentKey fragment{one.endpoint_id,          one.egress,
                               one.packet.source,        one.packet.destination,
                               one.packet.wire_protocol, one.packet.fragment_id};
    auto& fragments = one.tables(*this).fragments;
    const auto before = fragments.find(fragment);
    undo_ = Undo{one.grant->key(),
                 std::pair(fragment, before == fragments.end() ? std::nullopt : std::optional(before->second)),
                 {}};
    // What follows comes from the same sender, where that one is known.
    fragments[fragment] = {now.policy_id, one.packet.fragment_header_bytes, one.egress ? "" : one.from, one.boot};
    return reason;
  };
  if (found == flows.end() || one.boot - found->second.seen > idle(key, found->second))
    return with_fragment(begin(one, key));
  Flow& flow = found->second;
  const bool of_initiator = flow.by_guest == one.egress;
  if (!of_initiator && asks(one.packet)) return with_fragment(begin(one, key));
  if (!flow.by_guest) {
    if (!one.egress && one.from != flow.peer) {
      // Another one on the peer's port begins in its own right, and until the peer is heard again replies wait.
      flow.realm_epoch = 0;
      return with_fragment(begin(one, key));
    }
    if (one.egress && flow.realm_epoch != now.realm_epoch) return GRANTD_REASON_AWAITING_PEER;
  }
  if (const auto why = judge_initiator(one, flow.by_guest, key, flow.peer))
    // What may not follow may still begin in its own right.
    return !of_initiator && may_begin(one.packet) ? with_fragment(begin(one, key)) : *why;
  if (flow.policy_id == now.policy_id && flow.realm_epoch == now.realm_epoch)
    undo_ = Undo{one.grant->key(), {}, std::pair(key, flow)};
  flow.policy_id = now.policy_id;
  flow.realm_epoch = now.realm_epoch;
  flow.seen = one.boot;
  if (one.packet.protocol == kTcp) {
    if (one.packet.tcp_flags & (kFin | kRst))
      flow.closing = true;
    else if (of_initiator && asks(one.packet))
      flow.closing = false;
  }
  return with_fragment(GRANTD_REASON_ESTABLISHED);
}

Reason Model::later_fragment(Case& one) {
  const Packet& packet = one.packet;
  auto& fragments = one.tables(*this).fragments;
  const auto found = fragments.find(
      {one.endpoint_id, one.egress, packet.source, packet.destination, packet.wire_protocol, packet.fragment_id});
  if (found == fragments.end()) return GRANTD_REASON_FRAGMENT_ORPHAN;
  const Fragment& first = found->second;
  if (first.policy_id != one.published(*this).policy_id || one.boot - first.seen > 30 * kSecond)
    return GRANTD_REASON_FRAGMENT_ORPHAN;
  if (!first.from.empty() && first.from != one.from) return GRANTD_REASON_FRAGMENT_ORPHAN;
  return packet.fragment_offset < first.header_bytes ? GRANTD_REASON_FRAGMENT_HEADER : GRANTD_REASON_FRAGMENT;
}

Reason Model::icmp_error(Case& one) {
  const Packet& packet = one.packet;
  const Bytes& frame = one.arrival.frame;
  if (const auto why = impossible_peer(one)) return *why;
  if (packet.first_fragment()) return GRANTD_REASON_ICMP_ERROR_UNRELATED;
  // What stands behind it is part of what arrives on a bridge.
  if (packet.ip_bytes > kLongestIcmpError || (one.egress && packet.end != frame.size()))
    return GRANTD_REASON_ICMP_ERROR_SIZE;
  const Reason unrelated = GRANTD_REASON_ICMP_ERROR_UNRELATED;
  // What is quoted: an IP header without options, the extension headers that a packet may have, and the first eight
  // bytes of L4.
  const bool six = packet.source.family == Family::IPv6;
  const std::size_t inner = packet.l4 + 8;
  std::size_t l4 = inner + (six ? 40 : 20);
  if (l4 + 8 > packet.end) return unrelated;
  if (byte_at(frame, inner) != 0x45 && !six) return unrelated;
  if (six && byte_at(frame, inner) >> 4 != 6) return unrelated;
  if (!six && (two_bytes(frame, inner + 6) & 0x1fff)) return unrelated;  // a later fragment has no ports
  unsigned protocol = byte_at(frame, inner + (six ? 6 : 9));
  if (six) {
    Packet quoted;
    quoted.end = l4 + (packet.end - l4) / 8 * 8;  // it may be cut off anywhere; all headers are of eights
    if (walk_extensions(frame, protocol, l4, quoted) || quoted.later_fragment()) return unrelated;
    protocol = quoted.protocol;
    l4 = quoted.l4;
    if (l4 + 8 > packet.end) return unrelated;
  }
  const IpAddress source = address_at(frame, inner + (six ? 8 : 12), packet.source.family),
                  destination = address_at(frame, inner + (six ? 24 : 16), packet.source.family);
  // To the guest comes what speaks of a packet that the guest sent; from the guest what it received.
  const bool sent_by_guest = !one.egress;
  FlowKey key{one.endpoint_id,
              protocol,
              false,
              sent_by_guest ? source : destination,
              sent_by_guest ? destination : source,
              0,
              0};
  if (key.local != one.local()) return unrelated;
  if (one.egress && key.peer != packet.destination) return unrelated;
  if (protocol == kIcmp) {
    const unsigned type = byte_at(frame, l4);
    const bool request = type == (six ? 128U : 8U), reply = type == (six ? 129U : 0U);
    if (!request && !reply) return unrelated;
    key.local_port = two_bytes(frame, l4 + 4);
    key.echo_of_peer = request != sent_by_guest;
  } else if (protocol == kTcp || protocol == kUdp || protocol == kSctp) {
    const unsigned from_port = two_bytes(frame, l4), to_port = two_bytes(frame, l4 + 2);
    key.local_port = sent_by_guest ? from_port : to_port;
    key.peer_port = sent_by_guest ? to_port : from_port;
  } else {
    return unrelated;
  }
  auto& flows = one.tables(*this).flows;
  const auto found = flows.find(key);
  if (found == flows.end() || one.boot - found->second.seen > idle(key, found->second)) return unrelated;
  const Flow& flow = found->second;
  if (flow.policy_id != one.published(*this).policy_id) return unrelated;
  if (!flow.by_guest && flow.realm_epoch != one.published(*this).realm_epoch) return unrelated;
  return GRANTD_REASON_ICMP_ERROR;
}

void Model::not_sent() {
  if (!undo_) return;
  if (undo_->flow) tables_[undo_->grant].flows[undo_->flow->first] = undo_->flow->second;
  if (!undo_->fragment) return;
  const auto& [key, before] = *undo_->fragment;
  auto& fragments = tables_[undo_->grant].fragments;
  if (before)
    fragments[key] = *before;
  else
    fragments.erase(key);
}

void Model::age(BootNanoseconds by) {
  for (auto& [grant, tables] : tables_) {
    for (auto& [key, flow] : tables.flows) flow.seen -= by;
    for (auto& [key, fragment] : tables.fragments) fragment.seen -= by;
  }
}

bool Model::decided_at(BootNanoseconds now, BootNanoseconds by) const {
  const auto near = [&](BootNanoseconds seen, BootNanoseconds limit) {
    const auto off = static_cast<std::int64_t>(now - seen + by - limit);
    return off > -static_cast<std::int64_t>(5 * kSecond) && off < static_cast<std::int64_t>(5 * kSecond);
  };
  for (const auto& [grant, tables] : tables_) {
    for (const auto& [key, flow] : tables.flows) {
      Flow closing = flow;
      closing.closing = true;
      if (near(flow.seen, idle(key, flow)) || near(flow.seen, idle(key, closing))) return false;
    }
    for (const auto& [key, fragment] : tables.fragments)
      if (near(fragment.seen, 30 * kSecond)) return false;
  }
  return true;
}

}  // namespace grantd::model
