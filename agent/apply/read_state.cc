#include "agent/apply/bpf_kernel.h"
#include "agent/apply/read_records.h"

namespace grantd {

namespace {

// A slot has its tables when it has all three; slot 0 needs counters only. One that may not be opened, because somebody
// has removed its pin, or that is not the one pinned, is made again.
Result<void> read_tables(const Datapath& datapath, KernelState& state) {
  const DatapathMaps& maps = datapath.maps();
  auto slots = datapath.tables();
  if (!slots) return slots.error();
  for (const auto& [slot, tables] : slots.value()) {
    std::optional<std::uint32_t> entries;
    for (const auto& [outer, id] : {std::pair(&maps.counter, tables.counter), std::pair(&maps.frag, tables.frag),
                                    std::pair(&maps.flow, tables.flow)}) {
      if (slot == 0 && outer != &maps.counter) continue;
      if (id == 0) {
        entries.reset();
        break;
      }
      auto table = maps.table_size(*outer, slot, id);
      if (!table) return table.error();
      entries = table.value();
      if (!entries) break;
    }
    if (entries) state.tables[slot] = slot == 0 ? 0 : *entries;
  }
  return {};
}

}  // namespace

Result<Attachments> BpfKernel::read_attachments() {
  std::map<Hook, std::uint32_t> ids;
  for (const auto& [hook, program] : datapath_.programs()) ids[hook] = program.id;
  return attacher_.present(ids);
}

Result<operation::PutRules> BpfKernel::read_rules(std::uint32_t rules_id, const RuleSet& rules) {
  operation::PutRules found{rules_id, rules.digest, {}, {}};
  const DatapathMaps& maps = datapath_.maps();
  for (const KnownRule& rule : rules.rules) {
    auto ranges = maps.rule.find(rule.key);
    if (!ranges) return ranges.error();
    if (ranges.value()) found.rules.emplace_back(rule.key, *ranges.value());
  }
  for (const grantd_idrule_key& key : rules.identity_rules) {
    auto ranges = maps.idrule.find(key);
    if (!ranges) return ranges.error();
    if (ranges.value()) found.identity_rules.emplace_back(key, *ranges.value());
  }
  return found;
}

Result<KernelState> BpfKernel::read() {
  KernelState state;
  const DatapathMaps& maps = datapath_.maps();
  if (auto done = read_records(maps, state); !done) return done.error();
  if (auto done = read_tables(datapath_, state); !done) return done.error();
  auto shaper = shaper_.read();
  if (!shaper) return shaper.error();
  state.shaper = std::move(shaper).value();
  auto present = read_attachments();
  if (!present) return present.error();
  state.attachments = std::move(present.value().first);
  state.behind = std::move(present.value().behind);
  if (auto opened = open_attached(state.attachments); !opened) return opened.error();
  return state;
}

}  // namespace grantd
