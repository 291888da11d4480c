#include "agent/guests/pod_record.h"

namespace grantd {

PodRecord pod_record(const CniRecord& record) {
  return {record.pod_namespace,    record.pod_name, record.pod_uid,  record.netns,
          {record.host_interface}, record.ifindex,  record.addresses};
}

}  // namespace grantd
