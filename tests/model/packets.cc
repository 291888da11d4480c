// Packets made up: from a grammar, then spoiled.
#include "tests/model/steps.h"

namespace grantd::model {
namespace {

using prog::big_endian, prog::zeros, prog::operator+;

constexpr const char* kBroadcastMac = "ff:ff:ff:ff:ff:ff";
constexpr const char* kGroupMac = "33:33:00:00:00:01";

std::string interface_of(const std::string& guest) { return "veth-" + guest; }

bool is_six(const std::string& address) { return address.find(':') != std::string::npos; }

std::uint8_t wire_protocol(unsigned protocol, bool six) {
  return static_cast<std::uint8_t>(protocol == kIcmp && six ? 58 : protocol);
}

}  // namespace

Talk Generator::talk() {
  Talk made;
  made.guest = random_.of(kGuests);
  const GuestSpec& of = guest(made.guest);
  made.local = random_.of(of.addresses);
  const bool six = is_six(made.local);
  if (random_.percent(4)) made.local = address(six);
  made.peer = address(six);
  made.protocol = random_.of({kTcp, kTcp, kTcp, kUdp, kUdp, kSctp, kIcmp});
  made.local_port = random_.percent(50) ? static_cast<std::uint16_t>(30000 + random_.below(20000)) : port();
  made.peer_port = port();
  made.who = who(made.guest, made.local_node);
  return made;
}

Talk Generator::likely_talk() {
  Talk made = talk();
  const GuestSpec& of = guest(made.guest);
  made.local = random_.of(of.addresses);
  made.peer = is_six(made.local) ? "2600::7" : "8.8.8.8";
  for (const GrantSpec& grant : world_.grants)
    if (grant.name == of.grant) made.who = "realm:" + grant.grantee;
  made.local_node = false;
  return made;
}

Bytes Generator::tcp(std::uint16_t from, std::uint16_t to) {
  static constexpr std::uint8_t usual[] = {2, 2, 2, 18, 18, 16, 16, 24, 17, 4, 20};
  const std::uint8_t flags = random_.percent(82) ? random_.of(usual) : static_cast<std::uint8_t>(random_.byte());
  Bytes segment = prog::tcp(from, to, flags, random_.below(40));
  if (random_.percent(8)) {  // options of TCP
    const std::size_t words = random_.below(11);
    segment[12] = static_cast<std::uint8_t>((5 + words) << 4);
    segment = segment + zeros(random_.percent(85) ? words * 4 : random_.below(44));
  }
  return segment;
}

// The first bytes of a packet that the other side is told about.
Bytes Generator::quoted(const Talk& talk, bool egress) {
  Talk about = talk;
  if (random_.percent(10)) about.local_port++;
  if (random_.percent(10)) about.peer = address(is_six(talk.local));
  const bool six = is_six(talk.local);
  // A guest tells of what it received; it is told of what it sent.
  const bool by_guest = random_.percent(8) ? egress : !egress;
  const std::uint16_t from = by_guest ? about.local_port : about.peer_port,
                      to = by_guest ? about.peer_port : about.local_port;
  Bytes inner;
  if (about.protocol == kTcp) inner = prog::tcp(from, to, 16, random_.below(20));
  if (about.protocol == kUdp) inner = prog::udp(from, to, random_.below(20));
  if (about.protocol == kSctp) inner = prog::sctp(from, to, 0);
  if (about.protocol == kIcmp) {
    static constexpr std::uint8_t types[] = {8, 0, 3}, types6[] = {128, 129, 1};
    inner = prog::icmp(six ? random_.of(types6) : random_.of(types), 0, about.local_port, zeros(4));
  }
  if (random_.percent(5)) inner = prog::tcp(from, to, 16);
  const std::string &source = by_guest ? about.local : about.peer, &destination = by_guest ? about.peer : about.local;
  std::uint8_t next = wire_protocol(random_.percent(4) ? kTcp : about.protocol, six);
  if (six && random_.percent(20)) {  // a fragment, the first one more often than not
    inner = prog::ipv6_fragment(
                next, static_cast<std::uint16_t>(random_.percent(80) ? random_.below(8) : random_.word()), 5) +
            inner;
    next = 44;
  }
  if (six && random_.percent(15)) inner = chain(next, inner);
  Bytes packet =
      six ? prog::ipv6({source, destination, next, 60}, inner)
          : prog::ipv4(
                {source, destination, next, 7, static_cast<std::uint16_t>(random_.percent(6) ? random_.word() : 0), {}},
                inner);
  if (random_.percent(6)) packet[random_.below(packet.size())] ^= static_cast<std::uint8_t>(1 << random_.below(8));
  if (random_.percent(6)) packet.resize(random_.below(packet.size()));
  if (random_.percent(4)) packet = packet + zeros(1180 + random_.below(40));
  return packet;
}

Bytes Generator::icmp(const Talk& talk, bool egress) {
  const bool six = is_six(talk.local);
  const std::size_t chance = random_.below(100);
  if (chance < 40) return prog::icmp(six ? 128 : 8, 0, talk.local_port, zeros(random_.below(40)));
  if (chance < 70) return prog::icmp(six ? 129 : 0, 0, talk.local_port, zeros(random_.below(40)));
  if (chance < 90) {
    static constexpr std::uint8_t four[] = {3, 3, 11, 12, 5, 4}, sixes[] = {1, 2, 3, 4, 137, 5};
    return prog::icmp(six ? random_.of(sixes) : random_.of(four), static_cast<std::uint8_t>(random_.below(6)), 0,
                      quoted(talk, egress));
  }
  return prog::icmp(random_.byte(), static_cast<std::uint8_t>(random_.below(2)), talk.local_port,
                    zeros(random_.below(24)));
}

Bytes Generator::l4(const Talk& talk, bool egress) {
  const std::uint16_t from = egress ? talk.local_port : talk.peer_port, to = egress ? talk.peer_port : talk.local_port;
  switch (talk.protocol) {
    case kTcp:
      return tcp(from, to);
    case kUdp: {
      Bytes datagram = prog::udp(from, to, random_.below(40));
      if (random_.percent(5)) datagram[5] = random_.byte();
      return datagram;
    }
    case kSctp:
      return prog::sctp(from, to, random_.percent(60) ? 1 : static_cast<std::uint8_t>(random_.below(14)));
    default:
      return icmp(talk, egress);
  }
}

// IPv6 extension headers before `payload`, whose own number is `first`; afterwards `first` is the first of them.
Bytes Generator::chain(std::uint8_t& first, Bytes payload) {
  static constexpr std::uint8_t kinds[] = {60, 60, 60, 60, 0, 43, 44, 135, 139, 50, 51};
  for (std::size_t count = 1 + random_.below(random_.percent(80) ? 3 : 8); count > 0; count--) {
    const std::uint8_t kind = count == 1 && random_.percent(40) ? 0 : random_.percent(80) ? 60 : random_.of(kinds);
    if (kind == 44) {
      payload =
          prog::ipv6_fragment(first, static_cast<std::uint16_t>(random_.percent(50) ? 0 : random_.word()), 5) + payload;
    } else {
      Bytes header = prog::extension(first, 8 * (1 + random_.below(3)));
      if (random_.percent(4)) header[1] = random_.byte();
      payload = header + payload;
    }
    first = kind;
  }
  return payload;
}

Bytes Generator::ip(const Talk& talk, bool egress, Bytes payload) {
  const std::string &source = egress ? talk.local : talk.peer, &destination = egress ? talk.peer : talk.local;
  const bool six = is_six(source);
  std::uint8_t next = wire_protocol(talk.protocol, six);
  if (random_.percent(1)) next = random_.byte();
  if (six && random_.percent(12)) payload = chain(next, payload);
  std::uint16_t offset = 0, id = static_cast<std::uint16_t>(1 + random_.below(3));
  bool more = false;
  const bool fragment = random_.percent(12);
  if (fragment) {
    more = random_.percent(65);
    if (random_.percent(55))
      offset = static_cast<std::uint16_t>(random_.percent(70)   ? 1 + random_.below(6)
                                          : random_.percent(50) ? 8180 + random_.below(12)
                                                                : random_.below(8192));
    if (more && random_.percent(85)) payload.resize((payload.size() + 7) / 8 * 8);
  }
  if (six) {
    if (fragment)
      payload = prog::ipv6_fragment(next, static_cast<std::uint16_t>(offset << 3 | (more ? 1 : 0)), id) + payload;
    return prog::ipv6({source, destination, static_cast<std::uint8_t>(fragment ? 44 : next), 64}, payload);
  }
  const auto flags =
      static_cast<std::uint16_t>(offset | (more ? 0x2000 : 0) | (!fragment && random_.percent(30) ? 0x4000 : 0));
  return prog::ipv4({source, destination, next, id, flags, random_.percent(2) ? zeros(4 * random_.below(11)) : Bytes{}},
                    payload);
}

Bytes Generator::frame(bool egress, const std::string& name, std::uint16_t type, const Bytes& payload) {
  std::string to = egress ? prog::kFarMac : guest_mac(name), from = egress ? guest_mac(name) : prog::kFarMac;
  if (random_.percent(2)) to = random_.percent(50) ? kBroadcastMac : kGroupMac;
  if (random_.percent(1)) from = prog::kFarMac;
  if (random_.percent(1)) type = random_.percent(50) ? random_.word() : random_.percent(50) ? 0x8100 : 0x88a8;
  return prog::ethernet(to, from, type, payload);
}

void Generator::spoil(Bytes& frame) {
  for (std::size_t count = 1 + random_.below(3); count > 0; count--) {
    const std::size_t at = random_.percent(70) ? 14 + random_.below(60) : random_.below(frame.size());
    switch (random_.below(6)) {
      case 0:
        if (at < frame.size()) frame[at] ^= static_cast<std::uint8_t>(1 << random_.below(8));
        break;
      case 1:
        if (at < frame.size()) frame[at] = random_.byte();
        break;
      case 2:
        if (at < frame.size()) frame[at] = random_.of<std::uint8_t>({0, 1, 0x7f, 0x80, 0xff, 44, 60, 58, 6, 17});
        break;
      case 3:
        if (at >= 34) frame.resize(at < frame.size() ? at : frame.size());
        break;
      case 4:
        frame = frame + zeros(random_.below(20));
        break;
      default:
        if (at + 2 < frame.size()) std::swap(frame[at], frame[at + 1]);
    }
  }
}

Step Generator::bare(const Talk& talk, bool egress) {
  Step step;
  step.program = egress ? Program::FromGuest : Program::ToGuest;
  step.interface = interface_of(talk.guest);
  step.from_outside = egress || !talk.local_node;
  step.who = talk.who;
  return step;
}

// The frame between a guest and its gateway.
Bytes Generator::between(const Talk& talk, bool egress, const Bytes& packet) {
  const std::string own = guest_mac(talk.guest);
  return prog::ethernet(egress ? prog::kFarMac : own, egress ? own : prog::kFarMac,
                        is_six(talk.local) ? 0x86dd : 0x0800, packet);
}

Step Generator::opening(const Talk& talk, bool egress) {
  Step step = bare(talk, egress);
  const bool six = is_six(talk.local);
  const std::uint16_t from = egress ? talk.local_port : talk.peer_port, to = egress ? talk.peer_port : talk.local_port;
  const Bytes first = talk.protocol == kTcp    ? prog::tcp(from, to, prog::kSyn)
                      : talk.protocol == kUdp  ? prog::udp(from, to, 4)
                      : talk.protocol == kSctp ? prog::sctp(from, to, 1)
                                               : prog::icmp(six ? 128 : 8, 0, talk.local_port);
  const std::uint8_t next = wire_protocol(talk.protocol, six);
  step.frame = (egress ? prog::frame_out : prog::frame_in)(egress ? talk.local : talk.peer,
                                                           egress ? talk.peer : talk.local, next, first);
  const Bytes own = prog::mac(guest_mac(talk.guest));
  std::copy(own.begin(), own.end(), step.frame.begin() + (egress ? 6 : 0));
  return step;
}

Step Generator::piece(const Talk& talk, bool egress) {
  Step step = bare(talk, egress);
  const bool six = is_six(talk.local), first = random_.percent(40);
  const std::string &source = egress ? talk.local : talk.peer, &destination = egress ? talk.peer : talk.local;
  const auto id = static_cast<std::uint16_t>(7 + random_.below(2));
  const auto offset = static_cast<std::uint16_t>(first ? 0 : random_.below(7));
  const bool more = first || random_.percent(50);
  Bytes payload = first ? l4(talk, egress) : zeros(8 * (1 + random_.below(4)));
  if (!first && !more)
    payload.resize(random_.below(payload.size() + 1));  // the last one has any length, none but by mistake
  if (first && random_.percent(80)) payload.resize(random_.below(2) * 8 + (payload.size() + 7) / 8 * 8);
  std::uint8_t next = wire_protocol(talk.protocol, six);
  if (six && random_.percent(20)) {
    payload = first ? prog::extension(next) + payload : payload;
    next = 60;
  }
  const Bytes packet =
      six ? prog::ipv6(
                {source, destination, 44, 64},
                prog::ipv6_fragment(next, static_cast<std::uint16_t>(offset << 3 | (more ? 1 : 0)), id) + payload)
          : prog::ipv4({source, destination, next, id, static_cast<std::uint16_t>(offset | (more ? 0x2000 : 0)), {}},
                       payload);
  step.frame = between(talk, egress, packet);
  if (!egress && random_.percent(10)) step.who = "";
  return step;
}

Step Generator::heavy(const Talk& talk, bool egress) {
  if (random_.percent(15)) return piece(talk, egress);
  Step step = bare(talk, egress);
  const bool six = is_six(talk.local), first = random_.percent(25);
  const std::string &source = egress ? talk.local : talk.peer, &destination = egress ? talk.peer : talk.local;
  const std::uint16_t from = egress ? talk.local_port : talk.peer_port, to = egress ? talk.peer_port : talk.local_port;
  const auto size = random_.of<std::size_t>({16, 1400, 3000, 3000});
  Bytes payload;
  if (talk.protocol == kTcp)
    payload = prog::tcp(from, to,
                        random_.of<std::uint8_t>({prog::kSyn, prog::kAck, prog::kAck, prog::kAck | prog::kFin}), size);
  if (talk.protocol == kUdp) payload = prog::udp(from, to, size);
  if (talk.protocol == kSctp) payload = prog::sctp(from, to, random_.percent(50) ? 1 : 0) + zeros(size);
  if (talk.protocol == kIcmp)
    payload = prog::icmp(six ? random_.of<std::uint8_t>({128, 129}) : random_.of<std::uint8_t>({8, 0}), 0,
                         talk.local_port, zeros(size));
  if (first) payload.resize((payload.size() + 7) / 8 * 8);
  // Each segment has headers of its own: many small ones weigh far more than the frame.
  if (!first && random_.percent(60)) step.gso_bytes = static_cast<std::uint32_t>(1 + (size >> (2 + random_.below(9))));
  const auto id = static_cast<std::uint16_t>(7 + random_.below(2));
  const std::uint8_t next = wire_protocol(talk.protocol, six);
  const Bytes packet =
      six ? prog::ipv6({source, destination, static_cast<std::uint8_t>(first ? 44 : next), 64},
                       (first ? prog::ipv6_fragment(next, 1, id) : Bytes{}) + payload)
          : prog::ipv4({source, destination, next, id, static_cast<std::uint16_t>(first ? 0x2000 : 0)}, payload);
  step.frame = between(talk, egress, packet);
  return step;
}

Step Generator::complaint(const Talk& talk, bool egress) {
  Step step = bare(talk, egress);
  const bool six = is_six(talk.local);
  static constexpr std::uint8_t four[] = {3, 11, 12}, sixes[] = {1, 2, 3, 4};
  const Bytes error = prog::icmp(six ? random_.of(sixes) : random_.of(four), 0, 0, quoted(talk, egress));
  // From any router on the way; from the guest to the peer alone.
  const std::string peer = random_.percent(egress ? 10 : 70) ? address(six) : talk.peer;
  step.frame = between(talk, egress,
                       six ? prog::ipv6({egress ? talk.local : peer, egress ? peer : talk.local, 58, 64}, error)
                           : prog::ipv4({egress ? talk.local : peer, egress ? peer : talk.local, 1, 3, 0, {}}, error));
  if (random_.percent(5)) step.frame.push_back(random_.byte());
  return step;
}

Step Generator::packet(const Talk& talk, bool egress) {
  Step step = bare(talk, egress);
  Talk now = talk;
  if (!egress && random_.percent(12)) {
    bool local = false;
    step.who = who(talk.guest, local);
    step.from_outside = !local;
  }
  if (!egress && step.who.empty() && step.from_outside && random_.percent(20))
    step.mark = static_cast<std::uint32_t>(random_.below(9000));
  if (random_.percent(4)) (egress ? now.local : now.peer) = address(is_six(talk.local));
  if (random_.percent(4)) now.peer_port = port();
  step.frame = frame(egress, talk.guest, is_six(now.local) ? 0x86dd : 0x0800, ip(now, egress, l4(now, egress)));
  if (random_.percent(3)) {
    step.gso_bytes = static_cast<std::uint32_t>(1 + random_.below(40));
    step.gso_segments = static_cast<std::uint32_t>(random_.percent(50) ? 0 : random_.below(6));
  }
  if (random_.percent(10)) spoil(step.frame);
  return step;
}

Step Generator::neighbour() {
  const std::string name = random_.of(kGuests);
  const bool egress = random_.percent(60);
  std::string own = "fd00:20::9";
  for (const std::string& each : guest(name).addresses)
    if (is_six(each)) own = each;
  const std::string link_local = "fe80::20:ff:fe00:" + name;
  const std::string groups[] = {"ff02::1", "ff02::2", "ff02::1:ff00:2", "ff02::1:ff00:1",     "ff02::1:ff00:3",
                                "ff0e::1", "ff05::2", "ff01::1",        "ff02:0:1::1:ff00:1", "ff02::fb"};
  const auto any = [&] {
    switch (random_.below(8)) {
      case 0:
      case 1:
        return own;
      case 2:
        return link_local;
      case 3:
      case 4:
        return random_.percent(80) ? std::string(random_.of(kGatewayAddresses)) : std::string(kGuestsGateway);
      case 5:
        return std::string("::");
      default:
        return address(true);
    }
  };
  const std::uint8_t type =
      random_.percent(95) ? random_.of<std::uint8_t>({133, 134, 135, 135, 135, 136, 136}) : random_.byte();
  const std::string target = any();
  Bytes message = prog::neighbour(type, target);
  if (random_.percent(3)) message[1] = 1;
  if (random_.percent(5)) message[4 + random_.below(4)] = random_.byte();
  for (std::size_t count = random_.below(3); count > 0; count--) {
    Bytes option = Bytes{static_cast<std::uint8_t>(random_.percent(60) ? 1 + random_.below(2)
                                                                       : random_.of<std::size_t>({3, 5, 14, 25, 31})),
                         1} +
                   prog::mac(random_.percent(70) ? guest_mac(name) : prog::kFarMac);
    if (random_.percent(10)) option[1] = static_cast<std::uint8_t>(random_.below(4));
    message = message + option;
  }
  Step step;
  step.program = egress ? Program::FromGuest : Program::ToGuest;
  step.interface = interface_of(name);
  step.from_outside = random_.percent(50);
  if (!egress && random_.percent(30)) step.neighbour = interface_of(random_.of(kGuests));
  const std::string to = random_.percent(40)   ? prog::neighbour_group(type, target)
                         : random_.percent(30) ? random_.of(groups)
                                               : any();
  std::uint8_t next = 58;
  if (random_.percent(4)) message = chain(next, message);
  if (random_.percent(3)) {
    message = prog::ipv6_fragment(next, static_cast<std::uint16_t>(random_.below(2)), 9) + message;
    next = 44;
  }
  step.frame = frame(egress, name, 0x86dd,
                     prog::ipv6({any(), to, next, static_cast<std::uint8_t>(random_.percent(95) ? 255 : 64)}, message));
  if (to.starts_with("ff") && random_.percent(80)) {
    const Bytes link = prog::mac(prog::group_mac(to));
    std::copy(link.begin(), link.end(), step.frame.begin());
  }
  if (random_.percent(3)) step.frame[14 + random_.below(4)] ^= random_.byte();
  if (random_.percent(4)) step.frame[random_.below(6)] = random_.byte();
  if (random_.percent(5)) step.frame.push_back(random_.byte());
  if (random_.percent(8)) spoil(step.frame);
  return step;
}

Step Generator::arp() {
  const std::string name = random_.of(kGuests);
  const bool egress = random_.percent(60);
  std::string own = "10.20.0.9";
  for (const std::string& each : guest(name).addresses)
    if (!is_six(each)) own = each;
  const auto ip_address = [&] { return random_.percent(50) ? own : random_.percent(30) ? "0.0.0.0" : address(false); };
  const auto hardware = [&] {
    return random_.percent(60) ? guest_mac(name) : random_.percent(50) ? prog::kFarMac : "00:00:00:00:00:00";
  };
  Bytes message = prog::arp(static_cast<std::uint16_t>(random_.percent(95) ? 1 + random_.below(2) : random_.below(9)),
                            hardware(), ip_address(), hardware(), ip_address());
  if (random_.percent(20)) message = message + zeros(random_.percent(70) ? 18 : random_.below(40));
  if (random_.percent(8)) message[random_.below(8)] = random_.byte();
  Step step;
  step.program = egress ? Program::FromGuest : Program::ToGuest;
  step.interface = interface_of(name);
  if (!egress && random_.percent(30)) step.neighbour = interface_of(random_.of(kGuests));
  step.frame = frame(egress, name, 0x0806, message);
  if (random_.percent(30)) std::fill_n(step.frame.begin(), 6, std::uint8_t{0xff});
  if (random_.percent(4)) step.frame[random_.below(6)] = random_.byte();
  return step;
}

Step Generator::raw() {
  const std::string name = random_.of(kGuests);
  const bool egress = random_.percent(50);
  Bytes bytes(34 + random_.below(100));
  for (auto& byte : bytes) byte = random_.byte();
  Step step;
  step.program = egress ? Program::FromGuest : Program::ToGuest;
  step.interface = interface_of(name);
  step.from_outside = random_.percent(80);
  step.frame = frame(egress, name, random_.of<std::uint16_t>({0x0800, 0x86dd, 0x0806}), bytes);
  if (random_.percent(80) && step.frame.size() > 14) step.frame[14] = ethertype(step.frame) == 0x0800 ? 0x45 : 0x60;
  return step;
}

Step Generator::at_uplink() {
  Talk made = talk();
  made.local = random_.of(guest(made.guest).addresses);
  if (is_six(made.local) != is_six(made.peer)) made.peer = address(is_six(made.local));
  Step step = packet(made, false);
  step.program = Program::FromUplink;
  step.interface = random_.percent(95) ? random_.of(kUplinks) : interface_of(made.guest);
  return step;
}

Step Generator::any() {
  const std::size_t chance = random_.below(100);
  if (chance < 6) return neighbour();
  if (chance < 10) return arp();
  if (chance < 13) return raw();
  if (chance < 20) return at_uplink();
  Step step = packet(talk(), random_.percent(55));
  if (random_.percent(1)) step.interface = random_.of(kUplinks);
  return step;
}

}  // namespace grantd::model
