// What an administrator sets: by flag, by GRANTD_... in the environment, or in a file.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/guests/cni_cache.h"
#include "agent/guests/cri/cri_socket.h"
#include "agent/handover/cni_record.h"
#include "agent/handover/guest_namespaces.h"
#include "agent/handover/refusals.h"
#include "agent/shape/shaper.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

enum class AttachSetting { Auto, Tcx, Clsact };
enum class LogFormat { Text, Json };

struct Settings {
  enum class Command { Run, Check, Uninstall } command = Command::Run;
  std::string manifests;    // directory, for run; "" with kubernetes
  bool kubernetes = false;  // for run: from the API server
  std::string kubeconfig;   // "": as a pod of the cluster
  std::string guest_namespaces = kDefaultNamespacePattern;
  std::string cni_records = kDefaultRecordDir, cni_cache = kDefaultCniCache;
  std::string cri_socket = kAnyCriSocket;  // a path, auto or none
  std::string cni_conf_dir, cni_bin_dir;   // of the runtime; "": grantd-cni is not put into its chain
  std::string cni_plugin;                  // default: grantd-cni beside this program
  bool cni_refuse_unknown = false;
  std::vector<std::string> paths;  // files and directories, for check
  std::string node;                // default: the host's name
  std::string pin_root = "/sys/fs/bpf/grantd";
  std::string state_dir = kDefaultStateDir;
  std::string listen = "127.0.0.1:9786";  // "" for none
  std::vector<UplinkRule> uplinks;
  std::vector<IpPrefix> pod_cidrs, service_cidrs;
  std::uint32_t stamp_mask = GRANTD_STAMP_MASK_DEFAULT;
  Limits limits;  // of this node
  AttachSetting attach = AttachSetting::Auto;
  ShaperSetting shaper = ShaperSetting::Auto;
  bool trust_clock = false;
  LogFormat log_format = LogFormat::Text;
  std::string log_level = "info";
  bool json_output = false;  // of check

  // Of pods and services: no Realm may lie there.
  std::vector<IpPrefix> cluster_ranges() const {
    std::vector<IpPrefix> all = pod_cidrs;
    all.insert(all.end(), service_cidrs.begin(), service_cidrs.end());
    return all;
  }
};

// Reads the command line, the environment and the file. Where there is nothing to do (--help,
// --version, wrong usage) it has printed what there was to say, and `exit_code` is set.
struct ParsedSettings {
  Settings settings;
  std::vector<std::string> warnings;  // to be told before anything is done
  int exit_code = -1;
};
ParsedSettings parse_settings(int count, const char* const* arguments,
                              const char* usual_file = "/etc/grantd/grantd.toml");

}  // namespace grantd
