// What grantd-cni writes down of a guest's interface, so that the agent need not guess which one is whose.
// The plugin is the only writer; the agent reads. The directory is gone with a boot, as the interfaces are.
#pragma once

#include "maps/address.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

inline constexpr const char* kDefaultRecordDir = "/run/grantd/cni";

struct CniRecord {
  std::string container_id, ifname;  // CNI_CONTAINERID and CNI_IFNAME: together the attachment's name
  std::string network;               // the network's name in the runtime's configuration
  std::string netns;                 // path of the guest's network namespace, CNI_NETNS
  // K8S_POD_... of CNI_ARGS; the uid is "" where the runtime tells none.
  std::string pod_namespace, pod_name, pod_uid;
  std::string host_interface;  // the host's side
  std::uint32_t ifindex = 0;   // of the host's side; to be compared with the kernel, an index may be in new use
  std::optional<MacAddress> guest_mac;
  std::vector<IpAddress> addresses;  // the guest's
  bool operator==(const CniRecord&) const = default;
};

struct CniRecords {
  std::vector<CniRecord> records;  // by file name
  std::vector<Error> damaged;      // each names its file; what it was for is not known
};

// All records. A directory that is not there holds none. At most 32,768 files of 64 KiB are read; one more is an
// error, because what is left out might be a guest.
Result<CniRecords> read_cni_records(const std::string& directory);

// The record of one attachment; nothing where there is none. A damaged one is an error, which names its file.
Result<std::optional<CniRecord>> read_cni_record(const std::string& directory, const std::string& container_id,
                                                 const std::string& ifname);

// Makes the directory (0700) where it is not there. Replaces the record in one step.
Result<void> write_cni_record(const std::string& directory, const CniRecord& record);

// Also what a write that was cut short has left of it. What is not there is no error.
Result<void> remove_cni_record(const std::string& directory, const std::string& container_id,
                               const std::string& ifname);

// All of them, damaged and half-written ones too, and the directory if nothing else is in it.
Result<void> remove_cni_records(const std::string& directory);

// As the CNI specification has it. Neither it nor an interface's name can hold the colon that stands between them
// in the file's name, so two attachments never share a file.
bool is_container_id(const std::string& text);

}  // namespace grantd
