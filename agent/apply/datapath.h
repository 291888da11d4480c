// The BPF programs and their maps, loaded and pinned. What is pinned already is adopted.
#pragma once

#include "agent/apply/map_sizes.h"
#include "agent/plan/attachment.h"
#include "maps/abi/tables.h"
#include "maps/kernel/datapath_maps.h"
#include "maps/stamp_settings.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

struct grantd_bpf;  // the skeleton

namespace grantd {

struct LoadedProgram {
  int fd = -1;  // owned by the Datapath
  std::uint32_t id = 0;
};

struct DatapathOptions {
  std::string pin_root = kDefaultPinRoot;
  std::uint32_t stamp_mask = GRANTD_STAMP_MASK_DEFAULT;
  Limits limits;  // what new maps are made for
};

class Datapath {
 public:
  // Loads new programs; takes over the maps that are pinned. Fails where a pinned map has another
  // layout, where pin_root is on no BPF file system, or where another process has it loaded.
  static Result<std::unique_ptr<Datapath>> load(const DatapathOptions& options);
  ~Datapath();
  Datapath(const Datapath&) = delete;
  Datapath& operator=(const Datapath&) = delete;

  const DatapathMaps& maps() const { return maps_; }
  // Those of the options, made smaller where maps that were pinned already hold less.
  const Limits& limits() const { return limits_; }
  std::uint32_t slots() const { return maps_.grant.raw().max_entries(); }  // slot 0 included
  const std::map<Hook, LoadedProgram>& programs() const { return programs_; }

  // Pins again what is pinned no more, or by another's hand under our names. Returns how many.
  Result<std::size_t> mend_pins();
  // The ids of the tables that stand in the arrays of maps, by slot; of slots that have none, nothing.
  Result<std::map<std::uint32_t, grantd_slot_tables>> tables() const;
  // Publishes with one aligned store; slot < slots(). settle() is to follow at once.
  void publish(std::uint32_t slot, std::uint64_t policy_id);
  // Has time counted at the limits in force from now on, of all that was published since this was done last, also by
  // an agent before. What fails stays to be done.
  Result<void> settle();
  // New, empty tables of these slots, with so many flows each; slot 0 gets counters only.
  Result<void> make_tables(const std::vector<std::uint32_t>& slots, std::uint32_t flows);
  Result<void> remove_tables(const std::vector<std::uint32_t>& slots);

  static const char* program_name(Hook hook);

 private:
  Datapath() = default;
  Result<void> open_skeleton();
  Result<void> take_secret();
  Result<void> keep_secret();
  Result<void> drop_other_layouts();
  Result<void> size_maps();
  Result<void> load_programs();
  Result<void> pin_programs();
  static Result<void> pin_over(int fd, const std::string& path);
  Result<void> open_maps();
  Result<Descriptor> make_table(const struct TableShape& shape, std::uint32_t slot);
  Result<void> place_tables(const TypedMap<__u32, __u32>& outer, const struct TableShape& shape,
                            const std::vector<std::uint32_t>& slots);

  DatapathOptions options_;
  Limits limits_;
  Descriptor lock_;  // of the pin root, as long as this lives
  ::grantd_bpf* skeleton_ = nullptr;
  std::uint64_t secret_ = 0;  // that flows are sealed by
  DatapathMaps maps_;
  std::map<Hook, LoadedProgram> programs_;
  std::uint64_t* grants_ = nullptr;    // grantd_grant, mapped
  std::set<std::uint32_t> unsettled_;  // slots
};

}  // namespace grantd
