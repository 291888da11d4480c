// Marks of others in the bits of the stamp's mask: what harm they do, and what to do about it. Pure.
#pragma once

#include "agent/marks/mark_use.h"
#include "crd-sync/resources.h"
#include "maps/stamp_settings.h"

#include <optional>
#include <vector>

namespace grantd {

enum class StampHarm : std::uint8_t {
  None,        // clear of the stamp
  Alters,      // the tag remains, the identity changes: a packet may pass for another party's
  Overwrites,  // by something unknown: the stamp is lost, or becomes what another packet's was
  Loses,       // no stamp remains: the sender is nobody
  Mistakes,    // some stamps look like the mark
  Hides,       // a stamp hides the mark
  Expects,     // no stamp looks like the mark, but somebody must set it there
  Saves,       // stamps get into the connection's mark
};

StampHarm stamp_harm(const StampSettings& stamp, const MarkUse& use);

// One for each harm, action and mask, however many rules there are of it; it names one of them.
std::vector<Problem> stamp_collisions(const StampSettings& stamp, const MarkFacts& facts);

// What is not known of the marks in use.
std::vector<Problem> unread_marks(const MarkFacts& facts);

// A mask that is clear of every mark in use that does not take all bits, of well-known ones too where there
// is room. Nothing where no mask is.
std::optional<std::uint32_t> clear_stamp_mask(const MarkFacts& facts);

}  // namespace grantd
