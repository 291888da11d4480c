// Whether what the kernel and the record have of a guest's interface is what they should have. Pure.
#pragma once

#include "agent/cni/request.h"
#include "agent/handover/cni_record.h"
#include "maps/address.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Each tells what differs; "" where nothing does.

// More addresses than the result has are no difference: none of them is the guest's to send from.
std::string differs_from_result(const ResultInterface& result, const std::optional<MacAddress>& mac,
                                const std::vector<IpAddress>& addresses);
std::string differs_from_record(const CniRecord& expected, const CniRecord& recorded);

}  // namespace grantd
