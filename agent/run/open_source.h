// The source that the settings name.
#pragma once

#include "agent/settings/settings.h"
#include "crd-sync/source.h"
#include "maps/result.h"

#include <memory>

namespace grantd {

Result<std::unique_ptr<Source>> open_source(const Settings& settings);

}  // namespace grantd
