#include "agent/apply/past_stamps.h"

#include "maps/abi/tables.h"
#include "maps/kernel/datapath_maps.h"
#include "maps/kernel/typed_map.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

namespace grantd {

namespace {

// Each is an empty directory, MASK-TAG: it goes with a reboot, as the packets do, and with `grantd uninstall`.
std::string name_of(const StampSettings& stamp) { return hexadecimal(stamp.mask) + "-" + hexadecimal(stamp.tag); }

std::optional<StampSettings> stamp_named(const std::string& name) {
  unsigned mask = 0, tag = 0;
  if (std::sscanf(name.c_str(), "0x%8x-0x%8x", &mask, &tag) != 2) return std::nullopt;
  auto stamp = stamp_settings(mask);
  if (!stamp) return std::nullopt;
  stamp.value().tag = tag;
  return name_of(stamp.value()) == name ? std::optional(stamp.value()) : std::nullopt;
}

Result<std::vector<StampSettings>> noted_stamps(const std::string& directory) {
  std::vector<StampSettings> noted;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (const auto stamp = stamp_named(entry->path().filename())) noted.push_back(*stamp);
  if (failed) return system_error("cannot read " + directory, failed.value());
  return noted;
}

// An agent from before stamps were noted: whatever its mask, it had one tag.
Result<std::optional<StampSettings>> stamp_of_record(const std::string& pin_root) {
  using Record = std::optional<StampSettings>;
  const char* name = "grantd_node";
  auto map = TypedMap<__u32, grantd_node>::open_pinned(map_pin(pin_root, name), name);
  if (!map) return map.error().error_number == ENOENT ? Result<Record>(Record()) : map.error();
  auto record = map.value().find(0);
  if (!record) return record.error();
  auto stamp = stamp_settings(record.value() ? record.value()->stamp_mask : 0);
  if (!stamp) return Record();  // nothing was written into it yet
  stamp.value().tag = GRANTD_STAMP_TAG & tag_bits(stamp.value());
  return Record(stamp.value());
}

Error mistaken(const StampSettings& before, const StampSettings& wanted) {
  return Error{"stamp mask " + hexadecimal(wanted.mask) + ": stamps of mask " + hexadecimal(before.mask) +
                   ", in force since the node booted, may count as another sender's: the tags " +
                   hexadecimal(wanted.tag) + " and " + hexadecimal(before.tag) +
                   " differ in no bit that is free for both; accepted: such as " + hexadecimal(before.mask) +
                   ", or a mask with more bits of " + hexadecimal(kStampTagBits) + "; after a reboot any",
               0};
}

}  // namespace

Result<void> note_stamp(const std::string& pin_root, const StampSettings& stamp) {
  const std::string directory = pin_root + "/stamps";
  auto noted = noted_stamps(directory);
  if (!noted) return noted.error();
  std::vector<StampSettings>& before = noted.value();
  auto recorded = stamp_of_record(pin_root);
  if (!recorded) return recorded.error();
  if (const auto& last = recorded.value();
      last && std::none_of(before.begin(), before.end(), [&](const auto& each) { return each.mask == last->mask; }))
    before.push_back(*last);
  for (const StampSettings& each : before)
    if (may_be_mistaken(each, stamp)) return mistaken(each, stamp);
  before.push_back(stamp);
  for (const StampSettings& each : before) {
    const std::string path = directory + "/" + name_of(each);
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("cannot make " + path, errno);
  }
  return {};
}

}  // namespace grantd
