#include "agent/guests/guest_finder.h"

#include "agent/guests/cni_cache.h"

#include <algorithm>
#include <set>
#include <utility>

namespace grantd {

namespace {

std::string name_of(const PodRecord& record) { return record.pod_namespace + "/" + record.pod_name; }

// Without a uid, a record may be of an older pod by the same name: then the addresses must tell.
bool is_of(const PodRecord& record, const Workload& guest) {
  if (!record.pod_uid.empty()) return record.pod_uid == guest.pod->node_uid;
  return std::any_of(guest.addresses.begin(), guest.addresses.end(), [&](const IpAddress& address) {
    return std::find(record.addresses.begin(), record.addresses.end(), address) != record.addresses.end();
  });
}

// `now` where it is new.
BootNanoseconds since_when(const std::map<std::string, BootNanoseconds>& before, const std::string& key,
                           BootNanoseconds now) {
  const auto found = before.find(key);
  return found == before.end() ? now : found->second;
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
  (void)records_.watch.renew().ok();
  (void)cache_.watch.renew().ok();
  auto before = std::exchange(by_pod_, {});
  auto closed_before = std::exchange(closed_pods_, {});
  problems_.clear();
  const auto add = [this](PodRecord record) { by_pod_[name_of(record)].push_back(std::move(record)); };
  const auto report = [this](const std::string& what) {
    problems_.push_back(problem_at(Severity::Error, records_.path, what, "records as grantd-cni writes them"));
  };
  auto written = read_cni_records(records_.path);
  if (!written) {
    report(written.error().message);
    stale_ = true;
  } else {
    for (const CniRecord& record : written.value().records) {
      if (!record.pod_uid.empty()) closed_pods_.insert(record.pod_uid);
      add(pod_record(record));
    }
    for (const Error& damaged : written.value().damaged) {
      report(damaged.message);
      stale_ |= damaged.error_number != 0;
    }
  }
  CniCache cache = read_cni_cache(cache_.path);
  stale_ |= !cache.complete;
  for (PodRecord& record : cache.records) add(std::move(record));
  // What could not be read is read again at the next look, and until then known as it was: the kernel has its say
  // about it all the same.
  if (!stale_) return;
  by_pod_.merge(before);
  closed_pods_.merge(closed_before);
}

const std::set<std::string>& GuestFinder::closed_pods() {
  read_records();
  return closed_pods_;
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
    const std::string& uid = guest.pod->node_uid;
    auto found = find_recorded(guest, node);
    if (found.empty() && runtime_) {
      relying.insert(uid);
      const PodRecord* record = runtime_->find(uid);
      if (record && name_of(*record) == guest.name) found = match_pod({*record}, node.interfaces, kernel_);
      if (found.empty() ||
          std::any_of(found.begin(), found.end(), [](const auto& each) { return !each.doubt.empty(); }))
        unfound.insert(uid);
    }
    if (!found.empty()) node.pod_interfaces[guest.pod->uid] = std::move(found);
  }
  if (runtime_) runtime_->want(relying, unfound);
}

void GuestFinder::look_for_unknown(const std::vector<Workload>& guests, BootNanoseconds now,
                                   const IsGuests& is_guests) {
  std::set<std::string> known;
  for (const Workload& guest : guests) known.insert(guest.name);
  std::map<std::string, BootNanoseconds> since;
  for (const auto& [name, records] : by_pod_) {
    const bool there = std::any_of(records.begin(), records.end(), [this](const PodRecord& record) {
      const auto id = kernel_.netns_id(record.netns);
      return id.ok() && id.value() >= 0;
    });
    if (known.contains(name) || !is_guests(records.front().pod_namespace) || !there) continue;
    since[name] = since_when(unknown_since_, name, now);
  }
  unknown_since_ = std::move(since);
  unknown_.clear();
  for (const auto& [name, begin] : unknown_since_)
    if (now - begin >= kUnknownFor)
      unknown_.push_back({Severity::Error,
                          {records_.path, 0, 0},
                          "Pod " + name,
                          "",
                          "",
                          "runs in a guests' namespace and the API server does not know it, so no Grant governs it; "
                          "nothing holds it but grantd-cni, where that is in the chain",
                          "pods that the API server knows; of static pods their mirrors"});
}

void GuestFinder::look_for_unfound(const std::vector<Workload>& guests, NodeFacts& node, BootNanoseconds now) {
  std::map<std::string, BootNanoseconds> since;
  for (const Workload& guest : guests) {
    if (!guest.pod || guest.pod->host_network || guest.addresses.empty()) continue;
    const std::string& uid = guest.pod->uid;
    if (node.pod_interfaces.contains(uid)) continue;
    since[uid] = since_when(unfound_since_, uid, now);
  }
  unfound_since_ = std::move(since);
  node.unfound_lately.clear();
  for (const auto& [uid, begin] : unfound_since_)
    if (now - begin < kUnfoundFor) node.unfound_lately.insert(uid);
}

std::vector<Problem> GuestFinder::problems() const {
  std::vector<Problem> all = problems_;
  all.insert(all.end(), unknown_.begin(), unknown_.end());
  if (auto trouble = runtime_ ? runtime_->trouble() : std::nullopt) all.push_back(std::move(*trouble));
  return all;
}

}  // namespace grantd
