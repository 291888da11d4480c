#include "tests/model/duel.h"

#include "agent/node/clock.h"
#include "agent/snapshot/read_snapshot.h"
#include "agent/snapshot/snapshot.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
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

bool is_limited(const World& world) {
  return std::any_of(world.grants.begin(), world.grants.end(),
                     [](const GrantSpec& grant) { return !grant.bandwidth.empty(); });
}

}  // namespace

std::string Duel::suffix() const { return "-" + std::to_string(worlds_); }

void Duel::begin(const World& world) {
  // Agents restart here before any number has rested (kNumberRests), so numbers run out: then all are nobody.
  if (node_->numbers_taken() > GRANTD_MAX_IDENTITIES / 4) {
    node_.reset();
    node_ = std::make_unique<WorldNode>();
    notices_.clear();
  }
  if (worlds_ == 0 || limited_ || is_limited(world)) worlds_++;
  limited_ = false;
  expected_.clear();
  buckets_.clear();
  aged_ = 0;
  undecided_ = false;
  model_ = Model();
  apply(world);
  forget_everything();
  counted_before_.clear();
  counted_before_[0] = node_->counters(0);
  for (const auto& [key, slot] : node_->slots()) counted_before_[slot] = node_->counters(slot);
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

std::optional<Disagreement> Duel::apply(const World& world) {
  world_ = world;
  limited_ = limited_ || is_limited(world);
  edges_.clear();
  node_->apply(read_world(world, suffix()));
  return look();
}

std::optional<Disagreement> Duel::look() {
  const DatapathMaps& maps = node_->node().maps();
  std::map<std::string, Published> published;
  std::map<std::uint32_t, std::uint32_t> endpoint_ids;
  for (const Grant& grant : node_->desired().grants) {
    const std::uint32_t slot = node_->slots().at(grant.key());
    Published& each = published[grant.key()];
    each.policy_id = must(maps.grant.find(slot)).value().policy_id;
    if (const auto policy = must(maps.policy.find(each.policy_id))) each.realm_epoch = policy->realm_epoch;
    each.flow_table = must(maps.flow.find(slot)).value_or(0);
    each.fragment_table = must(maps.frag.find(slot)).value_or(0);
    limit(grant.key(), GRANTD_EGRESS, grant.egress_bps, grant.egress_burst_bytes);
    limit(grant.key(), GRANTD_INGRESS, grant.ingress_bps, grant.ingress_burst_bytes);
  }
  for (const auto& [ifindex, endpoint] : must(maps.endpoint.entries())) endpoint_ids[ifindex] = endpoint.endpoint_id;
  keep_notices();
  const Meaning meaning = node_->meaning(notice_ends());
  const auto loser = model_.loser_with_its_number(meaning, node_->numbers());
  model_.apply(meaning, published, endpoint_ids, node_->numbers());
  if (!loser) return {};
  return Disagreement{"'" + *loser + "' has lost an address, and bears the number of before"};
}

// A bucket is there from a Grant's first limit on, and keeps what was used while there is none.
void Duel::limit(const std::string& grant, unsigned direction, std::optional<std::uint64_t> bits_per_second,
                 std::optional<std::uint64_t> burst_bytes) {
  const auto burst = static_cast<double>(burst_bytes.value_or(0));
  const auto found = buckets_.find({grant, direction});
  if (found != buckets_.end())
    found->second.change(bits_per_second, burst, begun_, boot_now());
  else if (bits_per_second)
    buckets_.try_emplace({grant, direction}, static_cast<double>(*bits_per_second), burst, boot_now());
}

std::optional<Disagreement> Duel::at_uplink(const Opinion& opinion, const Judged& judged, std::uint32_t mark) {
  counts_.packets++;
  if (!reason_passes(opinion.reason)) {
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
  const Arrival arrival = arrival_of(step, *node_, suffix());
  const std::uint32_t mark = mark_of(step, arrival, *node_);
  keep_off_edges();
  const BootNanoseconds begin = boot_now();
  const auto judged = judged_ = node_->send(arrival, mark);
  const BootNanoseconds end = boot_now();
  if (!judged) {
    counts_.refused_by_test_run++;
    return {};
  }
  if (is_at_edge(begin, end)) {
    counts_.undecided++;
    undecided_ = true;
    return {};
  }
  Opinion& opinion = opinion_ = model_.judge(arrival, end, wall_at(end));
  if (fault_) fault_(arrival, opinion);
  if (step.program == Program::FromUplink) return at_uplink(opinion, *judged, mark);
  const bool egress = step.program == Program::FromGuest;
  const unsigned direction = egress ? GRANTD_EGRESS : GRANTD_INGRESS;
  counts_.packets++;
  Disagreement found{"", opinion.reason, judged->reason};
  const auto bucket = buckets_.find({opinion.grant, direction});
  if (opinion.charged && bucket != buckets_.end() && bucket->second.is_limited()) {
    const auto bytes = static_cast<double>(opinion.bytes);
    if (judged->passes && !bucket->second.passed(bytes, begin, end)) {
      found.what = "more passes than the bucket holds";
      found.model = opinion.reason = GRANTD_REASON_RATE_LIMIT;
      return found;
    }
    if (!judged->passes && !bucket->second.refused(bytes, begin, end)) {
      found.what = "the bucket refuses what it holds";
      found.kernel = GRANTD_REASON_RATE_LIMIT;
      return found;
    }
    if (!judged->passes) {
      opinion.reason = GRANTD_REASON_RATE_LIMIT;
      model_.not_sent();
      counts_.refused_by_bucket[direction]++;
    }
    // Time went on between the dry run, which takes nothing, and the program.
    if (judged->reason != found.model && judged->reason != GRANTD_REASON_RATE_LIMIT) found.what = "reasons differ";
  } else if (judged->reason != opinion.reason) {
    found.what = "reasons differ";
  }
  if (found.what.empty() && judged->passes != reason_passes(opinion.reason))
    found.what = "the reasons agree and the verdict is another";
  const std::uint32_t expected =
      egress ? (mark & ~node_->stamp_mask()) | node_->stamp(opinion.stamp) | node_->stamp_tag() : mark;
  if (found.what.empty() && judged->passes && judged->mark != expected)
    found.what = "the mark is " + hexadecimal(judged->mark) + ", and should say '" + opinion.stamp + "'";
  if (!found.what.empty()) return found;
  counts_.passed += judged->passes;
  counts_.by_reason[opinion.reason]++;
  note_edges(step, opinion.reason);
  Expected& counted =
      expected_[{opinion.grant.empty() ? 0 : node_->slots().at(opinion.grant), direction, opinion.reason}];
  counted.packets += opinion.packets;
  counted.bytes += opinion.bytes;
  return {};
}

std::optional<Disagreement> Duel::settle() {
  std::set<std::uint32_t> slots = {0};
  for (const auto& [key, slot] : node_->slots()) slots.insert(slot);
  for (const std::uint32_t slot : slots) {
    const auto counters = node_->counters(slot);
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

void Duel::age(BootNanoseconds by) {
  while (!model_.decided_at(boot_now(), by)) by += 11 * GRANTD_NS_PER_SECOND;
  aged_by_ = 0;
  // Nothing is older than the machine's last start.
  if (aged_ + by >= boot_now()) return;
  aged_ += by;
  aged_by_ = by;
  model_.age(by);
  node_->age(by);
}

// As if the table had been full: one flow is gone, here and there.
void Duel::forget(std::size_t pick) {
  forgotten_.clear();
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
    if (!node_->forget(raw)) throw std::runtime_error("the model knows a flow that the datapath does not");
    forgotten_ = name_of_flow(raw);
    tables.flows.erase(chosen);
    return;
  }
}

std::optional<Disagreement> Duel::play(const Step& step) {
  begun_ = boot_now();
  switch (step.kind) {
    case Step::Kind::Change:
      return apply(step.world);
    case Step::Kind::Age:
      age(step.by_ns);
      return {};
    case Step::Kind::Forget:
      forget(step.pick);
      return {};
    case Step::Kind::Restart:
      node_->restart();
      return look();
    case Step::Kind::Near:
      return bring_near(step.grant + suffix(), step.edge);
    case Step::Kind::Wait:
      wait();
      return {};
    default:
      return send(step);
  }
}

}  // namespace grantd::model
