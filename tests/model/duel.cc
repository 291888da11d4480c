#include "tests/model/duel.h"

#include "agent/node/clock.h"
#include "agent/snapshot/read_snapshot.h"
#include "agent/snapshot/snapshot.h"

#include <sched.h>
#include <unistd.h>

#include <set>
#include <stdexcept>

namespace grantd::model {
namespace {

void must(const Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

// Bits of the mark that are none of the stamp's: they stay as they are.
constexpr std::uint32_t kForeign = 0x00a5c000;
bool passes(Reason reason) { return reason != GRANTD_REASON_FELL_THROUGH && reason < GRANTD_REASON_FIRST_DROP; }

WallTime wall_at(BootNanoseconds boot) { return WallTime(std::chrono::nanoseconds(read_clock().wall_of(boot))); }

}  // namespace

std::string Duel::suffix() const { return "-" + std::to_string(worlds_); }

void Duel::begin(const World& world) {
  bool limited = worlds_ == 0;
  for (const GrantSpec& grant : world.grants) limited = limited || !grant.bandwidth.empty();
  if (limited || limited_) worlds_++;
  limited_ = limited;
  expected_.clear();
  buckets_.clear();
  aged_ = 0;
  model_ = Model();
  apply(world);
  forget_everything();
  counted_before_.clear();
  counted_before_[0] = counted(0);
  for (const auto& [key, slot] : node_->slots()) counted_before_[slot] = counted(slot);
}

void Duel::forget_everything() {
  model_.tables().clear();
  for (const auto& [key, slot] : node_->slots()) {
    if (const auto flows = must(node_->node().maps().flow_table(slot)))
      for (const auto& flow_key : must(flows->keys())) must(flows->erase(flow_key));
    if (const auto fragments = must(node_->node().maps().fragment_table(slot)))
      for (const auto& fragment_key : must(fragments->keys())) must(fragments->erase(fragment_key));
  }
}

Duel::Duel() {
  // One CPU: what a bucket has lent to others is not in sight.
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(getpid()) % static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN)), &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
  node_ = std::make_unique<WorldNode>();
}

void Duel::apply(const World& world) {
  world_ = world;
  node_->apply(read_world(world, suffix()));
  look();
}

void Duel::look() {
  const DatapathMaps& maps = node_->node().maps();
  std::map<std::string, Published> published;
  std::map<std::uint32_t, std::uint32_t> endpoint_ids;
  const BootNanoseconds now = boot_now();
  for (const Grant& grant : node_->desired().grants) {
    const std::uint32_t slot = node_->slots().at(grant.key());
    Published& each = published[grant.key()];
    each.policy_id = must(maps.grant.find(slot)).value().policy_id;
    if (const auto policy = must(maps.policy.find(each.policy_id))) each.realm_epoch = policy->realm_epoch;
    each.flow_table = must(maps.flow.find(slot)).value_or(0);
    each.fragment_table = must(maps.frag.find(slot)).value_or(0);
    for (const auto& [direction, rate] :
         {std::pair(GRANTD_EGRESS, grant.egress_bps), std::pair(GRANTD_INGRESS, grant.ingress_bps)})
      if (rate)
        buckets_.try_emplace({grant.key(), direction}, static_cast<double>(*rate),
                             static_cast<double>(*grant.egress_burst_bytes), now);
  }
  for (const auto& [ifindex, endpoint] : must(maps.endpoint.entries())) endpoint_ids[ifindex] = endpoint.endpoint_id;
  model_.apply(node_->meaning(), published, endpoint_ids, node_->numbers());
}

std::optional<Disagreement> Duel::at_uplink(const Opinion& opinion, const Judged& judged, std::uint32_t mark) {
  counts_.packets++;
  last_reason_ = opinion.reason;
  if (!passes(opinion.reason)) {
    counts_.by_reason[opinion.reason]++;
    Expected& counted = expected_[{0, GRANTD_INGRESS, opinion.reason}];
    counted.packets += opinion.packets;
    counted.bytes += opinion.bytes;
    if (!judged.passes) return {};
    return Disagreement{"from_uplink: the model drops, the datapath passes", opinion.reason, judged.reason};
  }
  counts_.passed++;
  const std::uint32_t expected = (mark & ~node_->stamp_mask()) | node_->stamp(opinion.stamp);
  if (judged.passes && judged.mark == expected) return {};
  return Disagreement{"from_uplink: the model stamps '" + opinion.stamp + "', mark " + hexadecimal(expected) +
                      "; the datapath leaves " + hexadecimal(judged.mark) + (judged.passes ? "" : " and drops")};
}

std::optional<Disagreement> Duel::send(const Step& step) {
  Arrival arrival{step.program,      node_->ifindex(step.interface),
                  step.from_outside, step.mark ? "" : who_of(step.who, suffix()),
                  step.frame,        step.gso_bytes,
                  step.gso_segments};
  if (node_->stamp(arrival.stamped) == 0) arrival.stamped = "";
  const std::uint32_t mark = step.mark ? *step.mark : node_->stamp(arrival.stamped) | kForeign;
  const BootNanoseconds begin = boot_now();
  const auto judged = node_->send(arrival, mark);
  const BootNanoseconds end = boot_now();
  if (!judged) {
    counts_.refused_by_test_run++;
    return {};
  }
  Opinion opinion = model_.judge(arrival, end, wall_at(end));
  if (step.program == Program::FromUplink) return at_uplink(opinion, *judged, mark);
  const bool egress = step.program == Program::FromGuest;
  const unsigned direction = egress ? GRANTD_EGRESS : GRANTD_INGRESS;
  counts_.packets++;
  Disagreement found{"", opinion.reason, judged->reason};
  const auto bucket = buckets_.find({opinion.grant, direction});
  if (opinion.charged && bucket != buckets_.end()) {
    const auto bytes = static_cast<double>(opinion.bytes);
    if (judged->passes && !bucket->second.passed(bytes, begin, end)) found.what = "more passes than the bucket holds";
    if (!judged->passes && !bucket->second.refused(bytes, begin, end)) found.what = "the bucket refuses what it holds";
    if (!judged->passes) {
      opinion.reason = GRANTD_REASON_RATE_LIMIT;
      model_.not_sent();
    }
    // Time went on between the dry run, which takes nothing, and the program.
    if (judged->reason != found.model && judged->reason != GRANTD_REASON_RATE_LIMIT) found.what = "reasons differ";
  } else if (judged->reason != opinion.reason) {
    found.what = "reasons differ";
  }
  if (found.what.empty() && judged->passes != passes(opinion.reason))
    found.what = "the reasons agree and the verdict is another";
  const std::uint32_t expected = egress ? (mark & ~node_->stamp_mask()) | node_->stamp(opinion.stamp) : mark;
  if (found.what.empty() && judged->passes && judged->mark != expected)
    found.what = "the mark is " + hexadecimal(judged->mark) + ", and should say '" + opinion.stamp + "'";
  if (!found.what.empty()) return found;
  counts_.passed += judged->passes;
  counts_.by_reason[opinion.reason]++;
  last_reason_ = opinion.reason;
  Expected& counted =
      expected_[{opinion.grant.empty() ? 0 : node_->slots().at(opinion.grant), direction, opinion.reason}];
  counted.packets += opinion.packets;
  counted.bytes += opinion.bytes;
  return {};
}

// A Grant that governs nobody may have no table.
std::vector<grantd_counter> Duel::counted(std::uint32_t slot) const {
  auto all = must(node_->node().maps().counters(slot));
  all.resize(GRANTD_COUNTERS);
  return all;
}

std::optional<Disagreement> Duel::settle() {
  std::set<std::uint32_t> slots = {0};
  for (const auto& [key, slot] : node_->slots()) slots.insert(slot);
  for (const std::uint32_t slot : slots) {
    const auto counters = counted(slot);
    for (unsigned direction = 0; direction < GRANTD_DIRECTIONS; direction++)
      for (unsigned reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
        const grantd_counter& now = counters.at(GRANTD_COUNTER_INDEX(direction, reason));
        const grantd_counter& before = counted_before_.at(slot).at(GRANTD_COUNTER_INDEX(direction, reason));
        const Expected& must_be = expected_[{slot, direction, reason}];
        if (now.packets - before.packets == must_be.packets && now.bytes - before.bytes == must_be.bytes) continue;
        const auto of = [](std::uint64_t packets, std::uint64_t bytes) {
          return std::to_string(packets) + " packets, " + std::to_string(bytes) + " bytes";
        };
        return Disagreement{"slot " + std::to_string(slot) + (direction == GRANTD_EGRESS ? " egress " : " ingress ") +
                                reason_label(static_cast<Reason>(reason)) + ": counted " +
                                of(now.packets - before.packets, now.bytes - before.bytes) +
                                "; the model: " + of(must_be.packets, must_be.bytes),
                            static_cast<Reason>(reason), static_cast<Reason>(reason)};
      }
  }
  return {};
}

// Only a test writes into what BPF writes: the time of what is remembered is set back.
void Duel::age(BootNanoseconds by) {
  while (!model_.decided_at(boot_now(), by)) by += 11 * GRANTD_NS_PER_SECOND;
  // Nothing is older than the machine's last start.
  if (aged_ + by >= boot_now()) return;
  aged_ += by;
  model_.age(by);
  for (const auto& [key, slot] : node_->slots()) {
    if (const auto flows = must(node_->node().maps().flow_table(slot)))
      for (auto [flow_key, flow] : must(flows->entries())) {
        flow.last_seen_ns -= by;
        if (!flows->put(flow_key, flow)) throw std::runtime_error("a flow cannot be made older");
      }
    if (const auto fragments = must(node_->node().maps().fragment_table(slot)))
      for (auto [fragment_key, fragment] : must(fragments->entries())) {
        fragment.first_seen_ns -= by;
        if (!fragments->put(fragment_key, fragment)) throw std::runtime_error("a fragment cannot be made older");
      }
  }
}

// As if the table had been full: one flow is gone, here and there.
void Duel::forget(std::size_t pick) {
  for (auto& [key, tables] : model_.tables()) {
    if (tables.flows.empty() || !node_->slots().contains(key)) continue;
    auto chosen = tables.flows.begin();
    std::advance(chosen, pick % tables.flows.size());
    const FlowKey& flow = chosen->first;
    grantd_flow_key raw{};
    raw.endpoint_id = flow.endpoint_id;
    raw.protocol = static_cast<std::uint8_t>(flow.protocol);
    if (flow.protocol == kIcmp) raw.echo_initiator = flow.echo_of_peer ? GRANTD_INITIATOR_PEER : GRANTD_INITIATOR_GUEST;
    raw.local_address = flow.local.mapped();
    raw.peer_address = flow.peer.mapped();
    raw.local_port = static_cast<std::uint16_t>(flow.local_port);
    raw.peer_port = static_cast<std::uint16_t>(flow.peer_port);
    if (!must(node_->node().maps().flow_table(node_->slots().at(key)))->erase(raw))
      throw std::runtime_error("the model knows a flow that the datapath does not");
    tables.flows.erase(chosen);
    return;
  }
}

std::optional<Disagreement> Duel::play(const Step& step) {
  switch (step.kind) {
    case Step::Kind::Change:
      apply(step.world);
      return {};
    case Step::Kind::Age:
      age(step.by_ns);
      return {};
    case Step::Kind::Forget:
      forget(step.pick);
      return {};
    case Step::Kind::Restart:
      node_->restart();
      look();
      return {};
    default:
      return send(step);
  }
}

}  // namespace grantd::model
