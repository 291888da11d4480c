// The results that libcni keeps of what each network plugin has made, where any runtime of Kubernetes leaves them.
#pragma once

#include "agent/guests/pod_record.h"
#include "maps/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

inline constexpr const char* kDefaultCniCache = "/var/lib/cni/results";

// One file of it (kind cniCacheV1). Nothing where it is of another kind, or of no pod.
std::optional<PodRecord> parse_cni_result(std::string_view text);

struct CniCache {
  std::vector<PodRecord> records;
  bool complete = true;  // nothing of it could not be read, as for want of descriptors
};

// All files of the directory, by name; one without a whole result is left out, because it may be half written and will
// be told of again. A directory that is not there holds none.
CniCache read_cni_cache(const std::string& directory);

}  // namespace grantd
