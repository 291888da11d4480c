// The numbers by which the datapath seals its records of flows and fragments (decision 70).
#pragma once

#include "maps/abi/flow.h"

#include <array>
#include <cstdint>

namespace grantd {

using SealNumbers = std::array<std::uint64_t, GRANTD_SEAL_NUMBERS>;

// They follow from the secret alone, so that programs of a later agent, or of grantctl, know what earlier ones sealed.
// All are odd, else a difference of words may vanish in a product.
SealNumbers seal_numbers(std::uint64_t secret);

}  // namespace grantd
