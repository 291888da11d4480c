// Finds where the guests that are pods are attached to this node.
#pragma once

#include "agent/guests/cri/runtime_records.h"
#include "agent/guests/netlink_peer.h"
#include "agent/guests/pod_record.h"
#include "crd-sync/directory_watch.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

class GuestFinder {
 public:
  // `cni_records`: see agent/handover/cni_record.h; `cni_cache`: see cni_cache.h; `cri_socket`: see runtime_records.h.
  // None of them need be there yet.
  static Result<GuestFinder> open(const std::string& cni_records, const std::string& cni_cache,
                                  const std::string& cri_socket);

  // For the event loop: whenever one of them is readable, call drain(). True: records may have changed.
  std::vector<int> fds() const;
  bool drain();

  // Of pods that grantd-cni has closed, the uids: guests, whatever becomes of their namespaces. Of some it knows none.
  const std::set<std::string>& closed_pods();
  // Sets pod_interfaces of `node` for these guests, whose interfaces were read just before.
  void find(const std::vector<Workload>& guests, NodeFacts& node);
  // Pods with a network on this node, in namespaces that are guests', of which `guests` has none for a while: what
  // starts and what ends may be known to one side before the other. To be called behind find().
  using IsGuests = std::function<bool(const std::string& namespace_name)>;
  void look_for_unknown(const std::vector<Workload>& guests, BootNanoseconds now, const IsGuests& is_guests);
  static constexpr BootNanoseconds kUnknownFor = 10 * GRANTD_NS_PER_SECOND;
  // Sets unfound_lately of `node`: guests with an address and without an interface, for no longer than this.
  void look_for_unfound(const std::vector<Workload>& guests, NodeFacts& node, BootNanoseconds now);
  static constexpr BootNanoseconds kUnfoundFor = 10 * GRANTD_NS_PER_SECOND;
  // What of the records cannot be read, who is unknown, and why the runtime cannot be asked.
  std::vector<Problem> problems() const;

 private:
  // A directory of records, of one kind.
  struct Place {
    std::string path;
    DirectoryWatch watch;
  };

  GuestFinder(Place records, Place cache, std::unique_ptr<RuntimeRecords> runtime, NetlinkPeer kernel)
      : records_(std::move(records)),
        cache_(std::move(cache)),
        runtime_(std::move(runtime)),
        kernel_(std::move(kernel)) {}
  std::vector<PodInterface> find_recorded(const Workload& guest, const NodeFacts& node);
  void read_records();

  Place records_, cache_;
  std::unique_ptr<RuntimeRecords> runtime_;  // nothing where it is not to be asked
  NetlinkPeer kernel_;
  std::vector<Problem> problems_, unknown_;
  std::map<std::string, BootNanoseconds> unknown_since_;  // NAMESPACE/NAME
  std::map<std::string, BootNanoseconds> unfound_since_;  // uid
  bool stale_ = true;
  std::map<std::string, std::vector<PodRecord>> by_pod_;  // NAMESPACE/NAME
  std::set<std::string> closed_pods_;
};

}  // namespace grantd
