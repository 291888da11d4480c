// One line for each thing that happened, on standard error.
#pragma once

#include "agent/settings/settings.h"
#include "crd-sync/resources.h"

#include <string>
#include <utility>
#include <vector>

namespace grantd {

using LogFields = std::vector<std::pair<std::string, std::string>>;

void open_log(LogFormat format, const std::string& level);
// Values are escaped: what others wrote reaches no terminal as it is.
void log_debug(const std::string& message, const LogFields& fields = {});
void log_info(const std::string& message, const LogFields& fields = {});
void log_warning(const std::string& message, const LogFields& fields = {});
void log_error(const std::string& message, const LogFields& fields = {});
void log_problem(const Problem& problem);

}  // namespace grantd
