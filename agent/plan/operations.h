// What plan asks of apply: one change of the kernel each.
#pragma once

#include "agent/plan/kernel_state.h"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace grantd {

// A large record that never changes. Kept aside, so that it does not make every step of a plan its size.
template <typename Record>
class Boxed {
 public:
  Boxed(const Record& record) : record_(std::make_shared<const Record>(record)) {}
  operator const Record&() const { return *record_; }
  const Record* operator->() const { return record_.get(); }

 private:
  std::shared_ptr<const Record> record_;
};

namespace operation {

struct PutNode {
  Boxed<grantd_node> node;
};
struct Attach {
  Attachment attachment;
};
struct Detach {
  Attachment attachment;
};
// Many at once: each change of an array of maps waits for a grace period of the kernel's.
struct MakeTables {  // slot 0: counters only
  std::vector<std::uint32_t> slots;
  std::uint32_t flows;  // that each flow table holds
};
struct RemoveTables {
  std::vector<std::uint32_t> slots;
};
struct PutRules {
  std::uint32_t rules_id;
  std::uint64_t digest;
  std::vector<std::pair<grantd_rule_key, grantd_ranges>> rules;
  std::vector<std::pair<grantd_idrule_key, grantd_ranges>> identity_rules;
};
struct PutSources {
  std::uint32_t rules_id;
  std::uint64_t digest;
  SharedList<CompiledSource> sources;  // the first one has the number 1
};
// Rules of identities that have another number now. In place, though the rules may be in force: nobody bears a new
// number yet, so nothing opens.
struct RenumberRules {
  std::uint32_t rules_id;
  std::map<std::uint32_t, std::uint32_t> numbers;  // of identities, old -> new; 0: the rule goes
  // What stands there under the old ones, which apply reads: of a refused Grant no manifest says it.
  std::vector<std::pair<grantd_idrule_key, grantd_ranges>> found;
};
// The rules of a refused Grant under another rules_id, but for what is closed. No manifest says them: apply reads what
// stands in the kernel, and does this as a PutRules.
struct CopyRules {
  std::uint32_t rules_id, from;
  std::vector<IpPrefix> closed;  // sorted: protected ranges and what lies inside them, which open nothing
};
struct CopySources {
  std::uint32_t rules_id, from;
  std::vector<std::uint16_t> sources;
};
struct RemoveRules {  // with their sources
  std::uint32_t rules_id;
  std::vector<grantd_rule_key> rules;
  std::vector<grantd_idrule_key> identity_rules;
  std::vector<std::uint16_t> sources;
};
struct PutPolicy {
  std::uint64_t policy_id;
  Boxed<grantd_policy> policy;
};
struct RemovePolicy {
  std::uint64_t policy_id;
};
struct Publish {
  std::uint32_t slot;
  std::uint64_t policy_id;  // 0: quarantine
};
struct PutEndpoint {
  Boxed<grantd_endpoint> endpoint;
};
struct RemoveEndpoint {
  std::uint32_t ifindex;
};
struct PutHostGuest {
  std::uint64_t cgroup_id;
  Boxed<grantd_endpoint> endpoint;
};
struct RemoveHostGuest {
  std::uint64_t cgroup_id;
};
struct PutPrefixes {
  std::vector<std::pair<PrefixKey, std::uint32_t>> prefixes;
};
struct RemovePrefixes {
  std::vector<PrefixKey> prefixes;
};
struct PutUplink {
  grantd_uplink uplink;
};
struct RemoveUplink {
  std::uint32_t ifindex;
};
struct PutSlotName {
  std::uint32_t slot;
  Boxed<grantd_slotname> name;
};
struct RemoveSlotName {
  std::uint32_t slot;
};
struct PutIdentityName {
  std::uint32_t identity;
  IdentityName name;
};
struct RemoveIdentityName {
  std::uint32_t identity;
};
struct PutGuest {
  std::uint32_t endpoint_id;
  Boxed<grantd_guest> guest;
};
struct RemoveGuest {
  std::uint32_t endpoint_id;
};
struct MakeQueues {};    // the interfaces and the qdisc; apply reads back what they are
struct RemoveQueues {};  // with all classes
struct PutShaper {
  Boxed<grantd_shaper> shaper;
};
struct PutClass {
  std::uint32_t minor;
  QueueClass wanted;
};
struct RemoveClass {
  std::uint32_t minor;
};
struct PutQueue {
  std::uint32_t endpoint_id;
  grantd_queue queue;
};
struct RemoveQueue {
  std::uint32_t endpoint_id;
};
struct PutDevice {  // only where our programs stand on it
  std::uint32_t ifindex;
};
struct RemoveDevice {
  std::uint32_t ifindex;
};
struct PutBounds {
  Boxed<Bounds> bounds;
};

}  // namespace operation

using Operation =
    std::variant<operation::PutNode, operation::Attach, operation::Detach, operation::MakeTables,
                 operation::RemoveTables, operation::PutRules, operation::PutSources, operation::RemoveRules,
                 operation::PutPolicy, operation::RemovePolicy, operation::Publish, operation::PutEndpoint,
                 operation::RemoveEndpoint, operation::PutHostGuest, operation::RemoveHostGuest, operation::PutPrefixes,
                 operation::RemovePrefixes, operation::PutUplink, operation::RemoveUplink, operation::PutSlotName,
                 operation::RemoveSlotName, operation::PutIdentityName, operation::RemoveIdentityName,
                 operation::PutGuest, operation::RemoveGuest, operation::PutBounds, operation::MakeQueues,
                 operation::RemoveQueues, operation::PutShaper, operation::PutClass, operation::RemoveClass,
                 operation::PutQueue, operation::RemoveQueue, operation::PutDevice, operation::RemoveDevice,
                 operation::RenumberRules, operation::CopyRules, operation::CopySources>;

const char* operation_name(const Operation& operation);  // "publish", as in metrics
std::span<const char* const> operation_names();          // all of them

// What `copy` makes of the rules that stand under its `from`.
operation::PutRules copied(const operation::CopyRules& copy, operation::PutRules from);
// The rules that `renumber` has found, by their new keys.
std::vector<std::pair<grantd_idrule_key, grantd_ranges>> renumbered(const operation::RenumberRules& renumber);

// Numbers that prefixes, rules and policies bear, whether or not they have a name.
std::set<std::uint32_t> identities_in_use(const KernelState& state);
void note_unused_numbers(BootNanoseconds now, KernelState& state);

// What `operation` does to the state, once it has been done. Pure.
void record(const Operation& operation, BootNanoseconds now, KernelState& state);

}  // namespace grantd
