// What the programs are told before they are loaded, the same for every instance on one node.
#pragma once

#include "maps/kernel/datapath_maps.h"
#include "maps/seal_numbers.h"
#include "maps/stamp_settings.h"

#include <grantd.skel.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace grantd {

inline void set_stamp(::grantd_bpf& skeleton, const StampSettings& stamp) {
  skeleton.rodata->stamp_mask = stamp.mask;
  skeleton.rodata->stamp_identity_mask = stamp.identity_mask;
  skeleton.rodata->stamp_identity_shift = stamp.identity_shift;
  skeleton.rodata->stamp_tag = stamp.tag;
}

// By which records are sealed.
inline void set_secret(::grantd_bpf& skeleton, std::uint64_t secret) {
  const SealNumbers numbers = seal_numbers(secret);
  std::copy(numbers.begin(), numbers.end(), std::begin(skeleton.rodata->seal_numbers));
}

}  // namespace grantd
