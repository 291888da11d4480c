// Two calls of the CRI: which sandboxes are ready, and where the network of one of them is. Pure.
#pragma once

#include "agent/guests/pod_record.h"
#include "maps/result.h"

#include <map>
#include <string>

namespace grantd {

inline constexpr const char* kListSandboxes = "/runtime.v1.RuntimeService/ListPodSandbox";
inline constexpr const char* kSandboxStatus = "/runtime.v1.RuntimeService/PodSandboxStatus";

std::string list_sandboxes_request();
// Pod's uid -> id of its sandbox; of several that are ready, the newest.
Result<std::map<std::string, std::string>> read_sandboxes(const std::string& answer);

std::string sandbox_status_request(const std::string& id);
// As containerd and CRI-O tell it, both as JSON in the verbose part; CRI-O names no interface of the host.
Result<PodRecord> read_sandbox_status(const std::string& answer);

}  // namespace grantd
