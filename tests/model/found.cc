#include "tests/model/found.h"

#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"
#include "tests/model/world.h"

#include <cstring>
#include <thread>

namespace grantd::model {
namespace {

constexpr std::chrono::milliseconds kNear{200};
// Bits of the mark that are none of the stamp's: they stay as they are.
constexpr std::uint32_t kForeign = 0x00a5c000;

std::string hex(const Bytes& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

std::uint8_t digit(char letter) { return static_cast<std::uint8_t>(letter <= '9' ? letter - '0' : letter - 'a' + 10); }

Bytes bytes_of(std::string text) {
  std::erase(text, ' ');
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2)
    bytes.push_back(static_cast<std::uint8_t>(digit(text[at]) << 4 | digit(text[at + 1])));
  return bytes;
}

const char* reason_name(Reason reason) {
  switch (reason) {
#define GRANTD_MODEL_NAME(number, name, label, verdict, sentence) \
  case GRANTD_REASON_##name:                                      \
    return #name;
    GRANTD_REASONS(GRANTD_MODEL_NAME)
#undef GRANTD_MODEL_NAME
  }
  return "";
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string more_of(const FoundStep& found) {
  std::string text;
  const auto add = [&](const std::string& field, const std::string& value) {
    text += (text.empty() ? ", {." : ", .") + field + " = " + value;
  };
  if (found.step.mark) add("mark", std::to_string(*found.step.mark));
  if (found.step.gso_bytes) add("gso_bytes", std::to_string(found.step.gso_bytes));
  if (found.step.gso_segments) add("gso_segments", std::to_string(found.step.gso_segments));
  if (found.stamp) add("stamp", quoted(*found.stamp));
  if (found.counted)
    add("counted", "{{" + std::to_string(found.counted->packets) + ", " + std::to_string(found.counted->bytes) + "}}");
  if (!found.step.neighbour.empty()) add("neighbour", quoted(found.step.neighbour));
  return text.empty() ? "" : text + "}";
}

std::string text_of(const FoundStep& found) {
  static constexpr const char* programs[] = {"FromGuest", "ToGuest", "FromUplink"};
  const Step& step = found.step;
  switch (step.kind) {
    case Step::Kind::Change:
      return "{R\"(" + found.manifests + ")\"}";
    case Step::Kind::Age:
      return "aged(" + std::to_string(step.by_ns) + ")";
    case Step::Kind::Forget:
      return "forgotten(" + quoted(found.flow) + ")";
    case Step::Kind::Restart:
      return "restarted()";
    case Step::Kind::Near:
      return (step.edge == Edge::End     ? "near_end("
              : step.edge == Edge::Begin ? "near_begin("
                                         : "near_end_of_notice(") +
             quoted(step.grant) + ")";
    case Step::Kind::Wait:
      return "waited()";
    default:
      return "{Program::" + std::string(programs[static_cast<int>(step.program)]) + ", " + quoted(step.interface) +
             ", " + (step.from_outside ? "true" : "false") + ", " + quoted(step.who) + ", " + quoted(hex(step.frame)) +
             ", GRANTD_REASON_" + reason_name(found.reason) + more_of(found) + "}";
  }
}

// In all slots together.
Counted counted(const WorldNode& node, unsigned direction, Reason reason) {
  Counted sum;
  std::vector<std::uint32_t> slots = {0};
  for (const auto& [key, slot] : node.slots()) slots.push_back(slot);
  for (const std::uint32_t slot : slots) {
    const grantd_counter one = node.counters(slot).at(GRANTD_COUNTER_INDEX(direction, reason));
    sum.packets += one.packets;
    sum.bytes += one.bytes;
  }
  return sum;
}

std::optional<std::string> failure_of_packet(WorldNode& node, const FoundStep& found, const std::string& suffix) {
  const Step& step = found.step;
  const Arrival arrival = arrival_of(step, node, suffix);
  const std::uint32_t mark = mark_of(step, arrival, node);
  const unsigned direction = step.program == Program::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
  const Counted before = counted(node, direction, found.reason);
  const auto judged = node.send(arrival, mark);
  if (!judged) return "BPF_PROG_TEST_RUN takes no such frame";
  const std::string must_be = reason_label(found.reason);
  // What from_uplink does it gives no reason for, and a dry run takes nothing from a bucket.
  if (step.program != Program::FromUplink && found.reason != GRANTD_REASON_RATE_LIMIT && judged->reason != found.reason)
    return std::string(reason_label(judged->reason)) + " instead of " + must_be;
  if (judged->passes != reason_passes(found.reason)) return "the verdict is not that of " + must_be;
  if (found.stamp) {
    const std::uint32_t expected = (mark & ~node.stamp_mask()) | node.stamp(who_of(*found.stamp, suffix));
    if (judged->mark != expected) return "the mark is " + hexadecimal(judged->mark) + ", not " + hexadecimal(expected);
  }
  if (found.counted) {
    const Counted after = counted(node, direction, found.reason);
    const std::uint64_t packets = after.packets - before.packets, bytes = after.bytes - before.bytes;
    if (packets != found.counted->packets || bytes != found.counted->bytes)
      return "counted are " + std::to_string(packets) + " packets, " + std::to_string(bytes) + " bytes";
  }
  return {};
}

FoundStep of_kind(Step::Kind kind) {
  Step step;
  step.kind = kind;
  return FoundStep(step);
}

FoundStep near(const std::string& grant, Edge edge) {
  FoundStep made = of_kind(Step::Kind::Near);
  made.step.grant = grant;
  made.step.edge = edge;
  return made;
}

}  // namespace

FoundStep::FoundStep(Program program, std::string interface, bool from_outside, std::string who,
                     const std::string& bytes, Reason must_be, const FoundMore& more)
    : reason(must_be), stamp(more.stamp), counted(more.counted) {
  step.program = program;
  step.interface = std::move(interface);
  step.from_outside = from_outside;
  step.who = std::move(who);
  step.mark = more.mark;
  step.frame = bytes_of(bytes);
  step.gso_bytes = more.gso_bytes;
  step.gso_segments = more.gso_segments;
  step.neighbour = more.neighbour;
}

FoundStep aged(std::uint64_t by_ns) {
  FoundStep made = of_kind(Step::Kind::Age);
  made.step.by_ns = by_ns;
  return made;
}

FoundStep forgotten(const std::string& flow) {
  FoundStep made = of_kind(Step::Kind::Forget);
  made.flow = flow;
  return made;
}

FoundStep restarted() { return of_kind(Step::Kind::Restart); }
FoundStep near_end(const std::string& grant) { return near(grant, Edge::End); }
FoundStep near_begin(const std::string& grant) { return near(grant, Edge::Begin); }
FoundStep near_end_of_notice(const std::string& grant) { return near(grant, Edge::EndOfNotice); }
FoundStep waited() { return of_kind(Step::Kind::Wait); }

// Without the endpoint's number, which another run does not repeat: its address is in the key.
std::string name_of_flow(grantd_flow_key key) {
  key.endpoint_id = 0;
  Bytes bytes(sizeof(key));
  std::memcpy(bytes.data(), &key, sizeof(key));
  return hex(bytes);
}

Arrival arrival_of(const Step& step, const WorldNode& node, const std::string& suffix) {
  Arrival arrival{step.program,      node.ifindex(step.interface),
                  step.from_outside, step.mark ? "" : who_of(step.who, suffix),
                  step.frame,        step.gso_bytes,
                  step.gso_segments, step.neighbour.empty() ? 0 : node.ifindex(step.neighbour)};
  if (node.stamp(arrival.stamped) == 0) arrival.stamped = "";
  return arrival;
}

std::uint32_t mark_of(const Step& step, const Arrival& arrival, const WorldNode& node) {
  return step.mark ? *step.mark : node.stamp(arrival.stamped) | kForeign;
}

std::string text_of(const FoundCase& found) {
  std::string text = "    {" + quoted(found.name) + ",\n     R\"(" + found.manifests + ")\",\n     {";
  for (const FoundStep& step : found.steps) text += "\n      " + text_of(step) + ",";
  if (!found.note.empty()) text += "  // " + found.note + "\n     ";
  return text + "}},\n";
}

std::optional<std::string> first_failure(WorldNode& node, const FoundCase& found, const std::string& suffix) {
  node.apply(read_manifests_text(found.manifests, suffix));
  WallTime edge;
  for (std::size_t at = 0; at < found.steps.size(); at++) {
    const FoundStep& each = found.steps[at];
    const Step& step = each.step;
    switch (step.kind) {
      case Step::Kind::Change:
        node.apply(read_manifests_text(each.manifests, suffix));
        break;
      case Step::Kind::Age:
        node.age(step.by_ns);
        break;
      case Step::Kind::Forget: {
        const Bytes bytes = bytes_of(each.flow);
        grantd_flow_key key{};
        std::memcpy(&key, bytes.data(), std::min(sizeof(key), bytes.size()));
        if (!node.forget(key)) return "step " + std::to_string(at) + ": there is no such flow";
        break;
      }
      case Step::Kind::Restart:
        node.restart();
        break;
      case Step::Kind::Near:
        edge = wall_at(boot_now()) + with_patience(kNear);
        if (step.edge == Edge::EndOfNotice) node.saw_revocation("ns/" + step.grant + suffix, edge - kNotice);
        node.apply(with_edge(node.desired(), step.grant + suffix, step.edge, edge));
        break;
      case Step::Kind::Wait:
        std::this_thread::sleep_for(edge - wall_at(boot_now()) + kOffEdge);
        break;
      default:
        if (const auto why = failure_of_packet(node, each, suffix)) return "step " + std::to_string(at) + ": " + *why;
    }
  }
  return {};
}

}  // namespace grantd::model
