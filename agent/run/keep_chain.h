// grantd-cni in the node's chain: from the settings to what is logged and counted of it.
#pragma once

#include "agent/cni/chain_keeper.h"
#include "agent/metrics/agent_status.h"
#include "agent/settings/settings.h"

#include <optional>

namespace grantd {

// Nothing where the settings do not ask for it.
Result<std::optional<ChainKeeper>> open_chain(const Settings& settings);

void keep_chain(ChainKeeper& chain, AgentStatus& status);

}  // namespace grantd
