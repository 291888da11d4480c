#include "agent/guests/guest_finder.h"

#include "agent/guests/cni_cache.h"

#include <algorithm>
#include <set>
#include <utility>

namespace grantd {

namespace {

// Without a uid, a record may be of an older pod by the same name: then the addresses must tell.
bool is_of(const PodRecord& record, const Workload& guest) {
  if (!record.pod_uid.empty()) return record.pod_uid == guest.pod->uid;
  return std::any_of(guest.addresses.begin(), guest.addresses.end(), [&](const IpAddress& address) {
    return std::find(record.addresses.begin(), record.addresses.end(), address) != record.addresses.end();
  });
}

}  // namespace

Result<GuestFinder> GuestFinder::open(const std::string& cni_records, const std::string& cni_cache,
                                      const std::string& cri_socket) {
  auto records = DirectoryWatch::open(cni_records);
  if (!records) return records.error();
  auto cache = DirectoryWatch::open(cni_cache);
  if (!cache) return cache.error();
  std::unique_ptr<RuntimeRecords> runtime;
  if (cri_socket != kNoCriSocket) {
    auto opened = RuntimeRecords::open(cri_socket);
    if (!opened) return opened.error();
    runtime = std::move(opened).value();
  }
  auto kernel = NetlinkPeer::open();
  if (!kernel) return kernel.error();
  return GuestFinder({cni_records, std::move(records).value()}, {cni_cache, std::move(cache).value()},
                     std::move(runtime), std::move(kernel).value());
}

std::vector<int> GuestFinder::fds() const {
  std::vector<int> all = {records_.watch.events_fd(), records_.watch.settle_fd(), cache_.watch.events_fd(),
                          cache_.watch.settle_fd()};
  if (runtime_) all.push_back(runtime_->fd());
  return all;
}

bool GuestFinder::drain() {
  const bool records = records_.watch.drain(), cache = cache_.watch.drain(), runtime = runtime_ && runtime_->drain();
  stale_ = stale_ || records || cache;
  return records || cache || runtime;
}

// Both: what the plugin has written down may be less than all of a pod, and one confirms the other.
void GuestFinder::read_records() {
  if (!std::exchange(stale_, false)) return;
  records_.watch.renew();
  cache_.watch.renew();
  by_pod_.clear();
  problems_.clear();
  const auto add = [this](PodRecord record) {
    by_pod_[record.pod_namespace + "/" + record.pod_name].push_back(std::move(record));
  };
  const auto report = [this](const std::string& what) {
    problems_.push_back(
        {Severity::Error, {records_.path, 0, 0}, "", "", "", what, "records as grantd-cni writes them"});
  };
  auto written = read_cni_records(records_.path);
  if (!written) {
    report(written.error().message);
  } else {
    for (const CniRecord& record : written.value().records) add(pod_record(record));
    for (const Error& damaged : written.value().damaged) report(damaged.message);
  }
  for (PodRecord& record : read_cni_cache(cache_.path)) add(std::move(record));
}

std::vector<PodInterface> GuestFinder::find_recorded(const Workload& guest, const NodeFacts& node) {
  const auto known = by_pod_.find(guest.name);
  if (known == by_pod_.end()) return {};
  std::vector<PodRecord> records;
  for (const PodRecord& record : known->second)
    if (is_of(record, guest)) records.push_back(record);
  return match_pod(records, node.interfaces, kernel_);
}

void GuestFinder::find(const std::vector<Workload>& guests, NodeFacts& node) {
  node.pod_interfaces.clear();
  read_records();
  std::set<std::string> relying, unfound;  // on the runtime
  for (const Workload& guest : guests) {
    if (!guest.pod || guest.pod->host_network) continue;
    const std::string& uid = guest.pod->uid;
    auto found = find_recorded(guest, node);
    if (found.empty() && runtime_) {
      relying.insert(uid);
      if (const PodRecord* record = runtime_->find(uid)) found = match_pod({*record}, node.interfaces, kernel_);
      if (found.empty() ||
          std::any_of(found.begin(), found.end(), [](const auto& each) { return !each.doubt.empty(); }))
        unfound.insert(uid);
    }
    if (!found.empty()) node.pod_interfaces[uid] = std::move(found);
  }
  if (runtime_) runtime_->want(relying, unfound);
}

std::vector<Problem> GuestFinder::problems() const {
  std::vector<Problem> all = problems_;
  if (auto trouble = runtime_ ? runtime_->trouble() : std::nullopt) all.push_back(std::move(*trouble));
  return all;
}

}  // namespace grantd
