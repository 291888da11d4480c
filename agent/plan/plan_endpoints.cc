#include "agent/plan/encode.h"
#include "agent/plan/planner.h"

namespace grantd {

namespace {

grantd_endpoint with_slot(grantd_endpoint record, std::uint32_t slot, std::uint64_t version) {
  record.slot = slot;
  record.version = version;
  record.version_again = version;
  return record;
}

// Apart from version, which every change brings anew. Where its halves differ the datapath lets nothing pass.
bool says_the_same(grantd_endpoint one, const grantd_endpoint& other) {
  if (other.version != other.version_again) return false;
  one.version = other.version;
  one.version_again = other.version_again;
  return same_bytes(one, other);
}

// What enforces waits for the name under a new number, for no other news of a name.
std::string name_subject(const std::string& subject) { return "name of " + subject; }

// Of a record that was there before, for whose sake no attachment is left out.
std::string record_subject(std::uint32_t ifindex) { return "old record of " + interface_subject(ifindex); }

}  // namespace

void Planner::attach(const Attachment& attachment, const std::string& subject, Narrows narrows) {
  if (kernel_.attachments.contains(attachment)) return;
  add(Close, subject, operation::Attach{attachment});
  phases_[Close].back().narrows = narrows;
}

// The record of an interface that had this index before goes first: our programs would judge by it. Where it cannot,
// they come all the same, as without them all is open.
void Planner::attach_guest(std::uint32_t ifindex, const std::string& subject) {
  if (!kernel_.stands_on(ifindex) && kernel_.endpoints.contains(ifindex))
    add(Close, record_subject(ifindex), operation::RemoveEndpoint{ifindex});
  for (Hook hook : kGuestHooks) attach({hook, ifindex, 0}, subject);
}

std::uint32_t Planner::slot_of(const CompiledEndpoint& endpoint) const {
  const auto found = slots_.find(endpoint.grant);
  return endpoint.grant.empty() || found == slots_.end() ? 0 : found->second;
}

void Planner::put_guest(std::uint32_t endpoint_id, const grantd_guest& guest, const std::string& subject) {
  used_guests_.insert(endpoint_id);
  const auto have = kernel_.guests.find(endpoint_id);
  if (have == kernel_.guests.end() || !same_bytes(have->second, guest))
    add(Fill, subject, operation::PutGuest{endpoint_id, guest});
}

void Planner::plan_endpoints() {
  // Drops of guests without a Grant are counted from the first packet on.
  if (!kernel_.tables.contains(0)) add(Close, "quarantine", operation::MakeTables{{0}, 0});
  for (const CompiledEndpoint& endpoint : wanted_.endpoints) plan_endpoint(endpoint);
  close_abandoned_endpoints();
  close_abandoned_host_guests();
  operation::MakeTables make{{}, wanted_.flows_per_table};
  for (std::uint32_t slot : used_slots_)
    if (slot != 0 && !kernel_.tables.contains(slot)) make.slots.push_back(slot);
  if (!make.slots.empty()) add(Fill, "tables", std::move(make));
}

void Planner::plan_endpoint(const CompiledEndpoint& endpoint) {
  const std::string subject = guest_subject(endpoint.guest);
  // An attachment without a record drops everything, so it comes first.
  const bool attached = kernel_.stands_on(endpoint.ifindex);
  if (!endpoint.host_network) attach_guest(endpoint.ifindex, subject);
  if (endpoint.without_record) {
    plan_closed(endpoint);
    return;
  }
  const std::uint32_t slot = slot_of(endpoint);
  CompiledEndpoint named = endpoint;
  if (slot == 0 && named.quarantine.empty()) named.quarantine = "its Grant has no place on this node";
  if (endpoint.host_network) {
    const auto have = kernel_.host_guests.find(endpoint.cgroup_id);
    const bool known = have != kernel_.host_guests.end() && have->second.slot == slot;
    const std::uint32_t id = known ? have->second.endpoint_id : take_endpoint_id();
    put_guest(id, encode_guest(named, slot), known ? name_subject(subject) : subject);
    plan_host_guest(endpoint, slot, id);
    return;
  }
  grantd_endpoint record = encode_endpoint(endpoint);
  const auto have = kernel_.endpoints.find(endpoint.ifindex);
  const grantd_endpoint* current = have == kernel_.endpoints.end() ? nullptr : &have->second;
  bool same = false;
  if (current) {
    const auto guest = kernel_.guests.find(current->endpoint_id);
    // An interface that was made again under the same index has no program: another endpoint.
    // So is one under the same name that is another pod, and one under another Grant: what it used is the other's.
    same = attached && guest != kernel_.guests.end() && text_of(guest->second.guest) == endpoint.guest &&
           text_of(guest->second.uid) == endpoint.uid && current->slot == slot;
    record.endpoint_id = same ? current->endpoint_id : take_endpoint_id();
  } else {
    record.endpoint_id = take_endpoint_id();
  }
  put_guest(record.endpoint_id, encode_guest(named, slot), same ? name_subject(subject) : subject);
  if (slot) used_slots_.insert(slot);
  if (slot && !endpoint.layer3) limited_guests_.push_back({record.endpoint_id, slot, endpoint.ifindex, attached});
  record.slot = slot;
  if (!current || !says_the_same(record, *current)) {
    // No instant under a Grant that it leaves, or under the old policy of the one it comes to.
    if (current && current->slot != 0 && (current->slot != slot || current->endpoint_id != record.endpoint_id))
      add(Close, subject, operation::PutEndpoint{with_slot(record, 0, take_version())});
    add(Open, subject, operation::PutEndpoint{with_slot(record, slot, take_version())});
  }
  if (endpoint.cgroup_id) plan_host_guest(endpoint, slot, record.endpoint_id);
}

// Attached, and without a record: every frame and every connect is refused.
void Planner::plan_closed(const CompiledEndpoint& endpoint) {
  const std::string subject = guest_subject(endpoint.guest);
  if (kernel_.endpoints.contains(endpoint.ifindex)) add(Close, subject, operation::RemoveEndpoint{endpoint.ifindex});
  if (kernel_.host_guests.contains(endpoint.cgroup_id))
    add(Close, subject, operation::RemoveHostGuest{endpoint.cgroup_id});
  if (endpoint.cgroup_id) attach_cgroup(endpoint);
}

void Planner::attach_cgroup(const CompiledEndpoint& endpoint) {
  const std::string hooks = "cgroup of " + guest_subject(endpoint.guest);
  for (Hook hook : kConnectHooks) attach({hook, 0, endpoint.cgroup_id}, hooks);
  if (endpoint.host_network)
    for (Hook hook : kSocketHooks) attach({hook, 0, endpoint.cgroup_id}, hooks);
}

void Planner::plan_host_guest(const CompiledEndpoint& endpoint, std::uint32_t slot, std::uint32_t endpoint_id) {
  const std::string subject = guest_subject(endpoint.guest);
  if (slot) used_slots_.insert(slot);
  grantd_endpoint record = encode_endpoint(endpoint);
  record.ifindex = 0;
  record.endpoint_id = endpoint_id;
  record.slot = slot;
  const auto have = kernel_.host_guests.find(endpoint.cgroup_id);
  if (have == kernel_.host_guests.end() || !says_the_same(record, have->second)) {
    if (have != kernel_.host_guests.end() && have->second.slot != 0 && have->second.slot != slot)
      add(Close, subject, operation::PutHostGuest{endpoint.cgroup_id, with_slot(record, 0, take_version())});
    add(Open, subject, operation::PutHostGuest{endpoint.cgroup_id, with_slot(record, slot, take_version())});
  }
  attach_cgroup(endpoint);
}

// Records without a Workload: closed for as long as their interface is there (decision 11).
void Planner::close_abandoned_endpoints() {
  std::set<std::uint32_t> wanted;
  for (const CompiledEndpoint& endpoint : wanted_.endpoints) wanted.insert(endpoint.ifindex);
  keep_closed_without_record(wanted);
  for (const auto& [ifindex, record] : kernel_.endpoints) {
    if (wanted.contains(ifindex)) continue;
    const std::string subject = interface_subject(ifindex);
    // Where its index is another's now, that one is no guest's.
    const bool another = facts_.gone.contains(ifindex) && !kernel_.stands_on(ifindex);
    if (another || !facts_.interfaces.contains(ifindex)) {
      add(Close, subject, operation::RemoveEndpoint{ifindex});
      continue;
    }
    // One that was made again is another endpoint here too.
    grantd_endpoint closed = record;
    if (!kernel_.stands_on(ifindex)) closed.endpoint_id = take_endpoint_id();
    attach_guest(ifindex, subject);
    if (closed.slot != 0 || closed.endpoint_id != record.endpoint_id)
      add(Close, record_subject(ifindex), operation::PutEndpoint{with_slot(closed, 0, take_version())});
    const auto have = kernel_.guests.find(record.endpoint_id);
    if (have == kernel_.guests.end()) continue;
    grantd_guest guest = have->second;
    guest.slot = 0;
    copy_text(guest.quarantine, "its Workload or pod is gone, or is no guest any more");
    put_guest(closed.endpoint_id, guest, subject);
  }
}

// An interface whose record is lost is closed by our programs alone, as long as both stand there before all others.
void Planner::keep_closed_without_record(const std::set<std::uint32_t>& wanted) {
  std::set<std::uint32_t> closed;
  for (const auto* standing : {&kernel_.attachments, &kernel_.behind})
    for (const Attachment& each : *standing)
      if (is_guest_hook(each.hook) && !wanted.contains(each.ifindex) && !kernel_.endpoints.contains(each.ifindex))
        closed.insert(each.ifindex);
  for (const std::uint32_t ifindex : closed) attach_guest(ifindex, interface_subject(ifindex));
}

// A cgroup that is gone has no attachment any more; one that is there stays closed.
void Planner::close_abandoned_host_guests() {
  std::set<std::uint64_t> wanted;
  for (const CompiledEndpoint& endpoint : wanted_.endpoints) wanted.insert(endpoint.cgroup_id);
  for (const auto& [cgroup_id, record] : kernel_.host_guests) {
    if (wanted.contains(cgroup_id)) continue;
    const std::string subject = "cgroup " + std::to_string(cgroup_id);
    if (!kernel_.attachments.contains({Hook::Connect4, 0, cgroup_id})) {
      add(Close, subject, operation::RemoveHostGuest{cgroup_id});
      continue;
    }
    if (record.slot != 0) add(Close, subject, operation::PutHostGuest{cgroup_id, with_slot(record, 0, take_version())});
    if (const auto have = kernel_.guests.find(record.endpoint_id);
        have != kernel_.guests.end() && !used_guests_.contains(record.endpoint_id)) {
      grantd_guest guest = have->second;
      guest.slot = 0;
      copy_text(guest.quarantine, "its Workload or pod is gone, or is no guest any more");
      put_guest(record.endpoint_id, guest, subject);
    }
  }
}

bool Planner::is_a_guests(std::uint32_t ifindex) const {
  const Attachment from_guest{Hook::FromGuest, ifindex, 0};
  return kernel_.attachments.contains(from_guest) || kernel_.behind.contains(from_guest);
}

// An uplink whose class changes believes nobody until the policies are published.
void Planner::plan_uplinks() {
  std::set<std::uint32_t> wanted;
  for (const CompiledUplink& uplink : wanted_.uplinks) {
    // Nothing passes the programs of a guest that is gone, and two for one side would take each other's place again and
    // again.
    if (is_a_guests(uplink.ifindex)) continue;
    wanted.insert(uplink.ifindex);
    const std::string subject = "uplink " + uplink.interface;
    grantd_uplink record{};
    record.ifindex = uplink.ifindex;
    record.uplink_class = uplink.uplink_class;
    record.layer3 = uplink.layer3 ? 1 : 0;
    const auto have = kernel_.uplinks.find(uplink.ifindex);
    if (have == kernel_.uplinks.end() || !same_bytes(have->second, record)) {
      grantd_uplink closed = record;
      closed.uplink_class = GRANTD_UPLINK_UNTRUSTED;
      if (have != kernel_.uplinks.end() && !same_bytes(have->second, closed))
        add(Close, subject, operation::PutUplink{closed});
      add(Open, subject, operation::PutUplink{record});
    }
    attach({Hook::FromUplink, uplink.ifindex, 0}, subject, uplink.tunnel ? Narrows::Yes : Narrows::No);
  }
  for (const auto& [ifindex, record] : kernel_.uplinks)
    if (!wanted.contains(ifindex)) add(Close, "uplink " + std::to_string(ifindex), operation::RemoveUplink{ifindex});
  for (const auto* standing : {&kernel_.attachments, &kernel_.behind})
    for (const Attachment& attachment : *standing)
      if (attachment.hook == Hook::FromUplink && !wanted.contains(attachment.ifindex))
        add(Retire, "uplink " + std::to_string(attachment.ifindex), operation::Detach{attachment});
}

}  // namespace grantd
