// All maps of the datapath, opened. The agent gets them from the loaded object, grantctl from
// their pins.
#pragma once

#include "maps/abi/about.h"
#include "maps/abi/bound.h"
#include "maps/abi/bucket.h"
#include "maps/abi/clock.h"
#include "maps/abi/counter.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/flow.h"
#include "maps/abi/identity.h"
#include "maps/abi/layout.h"
#include "maps/abi/policy.h"
#include "maps/abi/queue.h"
#include "maps/kernel/typed_map.h"
#include "maps/pin_root.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Every map by name, in the order of docs/maps.md.
const std::vector<std::string>& map_names();
std::string map_pin(const std::string& pin_root, const std::string& map_name);  // PINROOT/maps/NAME_vVERSION
// A slot's own table of an array of maps: PINROOT/maps/tables/NAME_SLOT. Who may not open a map by its id (that needs
// CAP_SYS_ADMIN) finds it there.
std::string table_pin(const std::string& pin_root, const std::string& map_name, std::uint32_t slot);
std::string program_pin(const std::string& pin_root, const std::string& program_name);

using FlowTable = TypedMap<grantd_flow_key, grantd_flow>;
using FragmentTable = TypedMap<grantd_frag_key, grantd_frag>;

struct DatapathMaps {
  TypedMap<__u32, grantd_grant> grant;
  TypedMap<__u64, grantd_policy> policy;
  TypedMap<__u32, grantd_endpoint> endpoint;
  TypedMap<__u64, grantd_endpoint> hostguest;
  TypedMap<grantd_identity_key, grantd_identity> identity;
  TypedMap<grantd_rule_key, grantd_ranges> rule;
  TypedMap<grantd_idrule_key, grantd_ranges> idrule;
  TypedMap<__u32, grantd_uplink> uplink;
  TypedMap<__u32, grantd_shaper> shaper;
  TypedMap<__u32, grantd_queue> queue;
  TypedMap<__u32, __u32> device;  // takes no batches
  TypedMap<__u32, grantd_seal> seal;
  TypedMap<__u32, grantd_slotname> slotname;
  TypedMap<__u32, grantd_idname> idname;
  TypedMap<__u32, grantd_guest> guest;
  TypedMap<grantd_source_key, grantd_source> source;
  TypedMap<__u32, grantd_node> node;
  TypedMap<__u32, grantd_bound> bound;
  TypedMap<__u32, __u32> flow;     // slot -> id of the inner table
  TypedMap<__u32, __u32> frag;     // slot -> id of the inner table
  TypedMap<__u32, __u32> counter;  // slot -> id of the inner table
  TypedMap<__u32, grantd_bucket> bucket;
  TypedMap<__u32, grantd_credit> credit;  // per CPU: use read_credit()
  TypedMap<__u32, grantd_clock> clock;    // per CPU
  TypedMap<grantd_usage_key, grantd_usage> usage;
  TypedMap<__u32, grantd_delay> delay;
  Descriptor event;
  std::string pin_root;  // where the slots' tables are pinned

  // `descriptor` gives an open descriptor for a map's name.
  static Result<DatapathMaps> open(const std::string& pin_root,
                                   const std::function<Result<Descriptor>(const std::string&)>& descriptor);
  static Result<DatapathMaps> open_pinned(const std::string& pin_root);

  // How many entries the table with that id holds, which stands in `outer` at `slot`; nothing where it is there no
  // more, may not be opened, or is not the one that is pinned as the slot's: it may be another Grant's.
  Result<std::optional<std::uint32_t>> table_size(const TypedMap<__u32, __u32>& outer, std::uint32_t slot,
                                                  std::uint32_t id) const;
  // The id of what is pinned as the slot's table; nothing where nothing is.
  Result<std::optional<std::uint32_t>> pinned_table(const TypedMap<__u32, __u32>& outer, std::uint32_t slot) const;
  // The tables of a slot; nothing where it has none.
  Result<std::optional<FlowTable>> flow_table(std::uint32_t slot) const;
  Result<std::optional<FragmentTable>> fragment_table(std::uint32_t slot) const;
  // Of all CPUs together, by GRANTD_COUNTER_INDEX; empty where the slot has no table. The times
  // are the latest of any CPU.
  Result<std::vector<grantd_counter>> counters(std::uint32_t slot) const;
  // Bytes that CPUs have taken from the bucket and not used, under the same epoch.
  Result<std::uint64_t> credit_bytes(std::uint32_t index, std::uint64_t grant_epoch) const;
};

}  // namespace grantd
