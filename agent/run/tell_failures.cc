#include "agent/run/tell_failures.h"

#include "agent/run/log.h"
#include "maps/fixed_text.h"

namespace grantd {

void tell_failures(const ApplyReport& report, const KernelState& state) {
  for (const FailedStep& failed : report.failed)
    log_error("a step failed and is tried again",
              {{"operation", failed.operation}, {"subject", failed.subject}, {"error", failed.error.message}});
  if (report.nobody_believed)
    log_error("no uplink believes anybody, since a tunnel would pass on the stamp of the packets it comes in");
  for (const std::uint32_t slot : report.closed) {
    const auto name = state.slot_names.find(slot);
    log_error(
        "a Grant is closed, since what narrows it could not be put in force",
        {{"grant", name == state.slot_names.end() ? "in slot " + std::to_string(slot) : text_of(name->second.grant)}});
  }
  for (const std::uint32_t endpoint_id : report.closed_guests) {
    const auto name = state.guests.find(endpoint_id);
    log_error("a guest is closed, since its record could not be narrowed",
              {{"guest",
                name == state.guests.end() ? "endpoint " + std::to_string(endpoint_id) : text_of(name->second.guest)}});
  }
}

}  // namespace grantd
