#include "crd-sync/admission.h"

#include "crd-sync/conflicts.h"
#include "crd-sync/fields.h"
#include "crd-sync/problem.h"
#include "crd-sync/refused_version.h"
#include "crd-sync/time_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace grantd {
namespace {

class Admission {
 public:
  Admission(const std::vector<std::shared_ptr<const ReadResult>>& reads, const LastGood& last_good,
            const std::vector<IpPrefix>& protected_ranges)
      : reads_(reads), last_good_(last_good), protected_ranges_(protected_ranges) {}

  Admitted run() {
    for (const auto& read : reads_) {
      if (!read->parsed) unparsed_.insert(read->path);
      if (!read->parsed || !read->all_known) doubtful_.insert(read->path);
    }
    for (const auto& read : reads_) collect(*read);
    for (auto& [id, found] : found_) place(id, found);
    for (const auto& [id, kept] : last_good_)
      if (!found_.contains(id) && may_still_be_there(kept.position.file.text())) fall_back(id);
    refuse_changes_of_fixed_fields();
    settle([this](const StandingObjects& objects) { return protected_conflicts(objects, protected_ranges_); });
    settle(realm_conflicts);
    settle(grant_conflicts);
    settle(workload_conflicts);
    const auto nested = nested_prefixes(standing_);
    problems_.insert(problems_.end(), nested.begin(), nested.end());
    nobodys_ = nobodys_prefixes(standing_, refused_prefixes(), problems_);
    tell_of_fallbacks();
    return result();
  }

 private:
  // All that the files say of one object.
  struct Found {
    std::vector<const ManifestObject*> good;
    std::size_t refused = 0;
    std::set<std::string> files;
    LegibleEnd end;              // of a Grant: the earliest that any of them says
    std::set<std::string> uids;  // of all of them; "" where one says none
  };

  void collect(const ReadResult& read) {
    // Each object of the API server is read by itself.
    std::size_t of_this = 0, &shown = read.path == kApiPath ? of_this : problems_of_file_[read.path];
    for (const Problem& problem : read.problems)
      if (shown++ < kMaxProblemsPerFile) problems_.push_back(problem);
    if (unparsed_.contains(read.path)) return;  // as it was, whichever document the mistake is in
    for (const ManifestObject& object : read.objects) {
      Found& found = found_[object.id];
      found.good.push_back(&object);
      found.files.insert(read.path);
      found.uids.insert(object.head.uid);
      if (const auto* grant = std::get_if<Grant>(&object.value)) found.end = earliest(found.end, end_of(*grant));
    }
    for (const ObjectId& id : read.refused) {
      const auto head = read.heads.find(id);
      ++found_[id].refused;
      found_[id].files.insert(read.path);
      found_[id].uids.insert(head == read.heads.end() ? "" : head->second.uid);
    }
    for (const auto& [id, end] : read.ends) found_[id].end = earliest(found_[id].end, end);
  }

  void place(const ObjectId& id, const Found& found) {
    if (found.good.size() == 1 && found.refused == 0) {
      const auto kept = last_good_.find(id);
      const bool fresh = kept == last_good_.end() || kept->second.text != found.good[0]->text;
      standing_[id] = {found.good[0], fresh ? Standing::Version::Fresh : Standing::Version::Unchanged};
      return;
    }
    // Any of several, whichever is read first, may be another one by a wrong name.
    if (found.good.size() + found.refused > 1) doubtful_.insert(found.files.begin(), found.files.end());
    for (std::size_t index = found.refused > 0 ? 0 : 1; index < found.good.size(); ++index) {
      const ManifestObject& object = *found.good[index];
      const std::string other =
          index > 0 ? "first in " + place_text(found.good[0]->position()) : "the other one has errors";
      refuse({id}, {Severity::Error, object.position(), id.text(), "metadata.name", escape_text(id.key),
                    "is there more than once, " + other + "; all are refused", "one object of a kind and name"});
    }
    replace(id);
  }

  // Whether an object that no file shows may be hidden by a mistake in its file.
  bool may_still_be_there(const std::string& file) const {
    return std::any_of(doubtful_.begin(), doubtful_.end(), [&file](const std::string& path) {
      return file == path || file.starts_with(path + "/");  // the directory itself is gone
    });
  }

  // A Grant ends no later than what is refused of it says. That is kept with it: a restart, a file that does not parse
  // or another refused version gives it no time again.
  Result<ManifestObject> last_version(const ObjectId& id, const KeptObject& kept) const {
    auto object = read_kept(id, kept);
    const auto* grant = object ? std::get_if<Grant>(&object.value().value) : nullptr;
    const auto found = found_.find(id);
    if (grant == nullptr || found == found_.end()) return object;
    const auto end = sooner_end(found->second.end, *grant);
    if (!end) return object;
    return read_kept(id, {kept.position, text_with_end(kept.text.text(), *end), {}});
  }

  // An object of another uid is another one: the old one was deleted, which no snapshot may have shown. One that says
  // none is not known to be the same as one that says one. What no file shows says nothing.
  bool is_another(const ObjectId& id, const std::string& kept_uid) const {
    const auto found = found_.find(id);
    return found != found_.end() && found->second.uids != std::set<std::string>{kept_uid};
  }

  // The version that was in force before, or nothing.
  void fall_back(const ObjectId& id) {
    standing_.erase(id);
    const auto kept = last_good_.find(id);
    if (kept == last_good_.end()) return;
    fallen_back_.insert(id);
    auto object = last_version(id, kept->second);
    if (!object) {
      problems_.push_back({Severity::Warning, kept->second.position, id.text(), "", "", object.error().message, ""});
      return;
    }
    const std::string& uid = object.value().head.uid;
    if (is_another(id, uid)) {
      problems_.push_back({Severity::Warning, kept->second.position, id.text(), kUidField, escape_text(uid),
                           "was another object, whose last good version does not stand in for this one", ""});
      fallen_back_.erase(id);
      return;
    }
    const auto stored = kept_.insert_or_assign(id, std::move(object).value()).first;
    standing_[id] = {&stored->second, Standing::Version::LastGood};
  }

  void replace(const ObjectId& id) {
    replaced_.insert(id);
    gone_.insert(id);
    fall_back(id);
  }

  void refuse(const std::vector<ObjectId>& ids, Problem problem) {
    for (const ObjectId& id : ids) why_.try_emplace(id, problem);
    // Its last good version may be wrong in the same way; that is told once.
    if (told_.insert({problem.object, problem.message}).second) problems_.push_back(std::move(problem));
  }

  static SourcePosition place_of(const ManifestObject& object, std::string_view fixed_field) {
    int line = 0;
    if (const auto* realm = std::get_if<Realm>(&object.value); realm && fixed_field == kIdentityField)
      line = realm->identity_line;
    if (const auto* grant = std::get_if<Grant>(&object.value))
      line = fixed_field == kGrantorField   ? grant->grantor_line
             : fixed_field == kGranteeField ? grant->grantee_line
                                            : 0;
    return place_of_field(object.position(), line);
  }

  static std::string uid_of(const FixedFields& fields) {
    const auto uid = fields.find(kUidField);
    return uid == fields.end() ? "" : uid->second;
  }

  void refuse_changes_of_fixed_fields() {
    std::vector<ObjectId> changed;
    for (const auto& [id, standing] : standing_) {
      const auto kept = last_good_.find(id);
      if (!standing.fresh() || kept == last_good_.end()) continue;
      const FixedFields now = fixed_fields(*standing.object), before = fixed_fields(id, kept->second);
      if (is_another(id, uid_of(before))) {
        made_anew_.insert(id);  // it owes the old one nothing
        continue;
      }
      for (const auto& [field, value] : before) {
        const auto other = now.find(field);
        if (other == now.end() || other->second == value) continue;
        refuse({id},
               {Severity::Error, place_of(*standing.object, field), id.text(), field, escape_text(other->second),
                "cannot be changed", "\"" + escape_text(value) + "\"; delete the object first to make another one"});
        changed.push_back(id);
        break;
      }
    }
    for (const ObjectId& id : changed) replace(id);
  }

  // Until nothing conflicts: each turn puts back or takes away at least one object.
  template <typename ConflictsOf>
  void settle(const ConflictsOf& conflicts_of) {
    while (true) {
      std::vector<Conflict> conflicts = conflicts_of(standing_);
      if (conflicts.empty()) return;
      std::set<ObjectId> refused;
      for (Conflict& conflict : conflicts) {
        refused.insert(conflict.refused.begin(), conflict.refused.end());
        // One mistake, one error: the Realm's own says what to mend.
        conflict.problem.consequence = conflict.because_of && gone_.contains(*conflict.because_of);
        refuse(conflict.refused, std::move(conflict.problem));
      }
      for (const ObjectId& id : refused) {
        if (standing_.at(id).fresh()) {
          replace(id);
        } else {
          gone_.insert(id);
          standing_.erase(id);
        }
      }
    }
  }

  // Also of those that are good by themselves.
  std::vector<RefusedPrefix> refused_prefixes() const {
    std::vector<RefusedPrefix> all;
    for (const auto& read : reads_) {
      if (read->parsed && unparsed_.contains(read->path)) continue;
      all.insert(all.end(), read->apart.begin(), read->apart.end());
      for (const ManifestObject& object : read->objects)
        if (const auto* realm = std::get_if<Realm>(&object.value); realm && gone_.contains(object.id))
          add_prefixes(*realm, object.id.text(), all);
    }
    for (const ObjectId& id : fallen_realms()) {
      const auto kept = kept_prefixes(last_good_.at(id));
      all.insert(all.end(), kept.begin(), kept.end());
    }
    return all;
  }

  // Of which neither the version of now nor the last good one can stand: where this node's ranges are others than they
  // were, or what was kept is good no more.
  std::vector<ObjectId> fallen_realms() const {
    std::vector<ObjectId> fallen;
    for (const ObjectId& id : fallen_back_)
      if (id.kind == ResourceKind::Realm && !standing_.contains(id)) fallen.push_back(id);
    return fallen;
  }

  void tell_of_fallbacks() {
    for (const ObjectId& id : replaced_) {
      const auto standing = standing_.find(id);
      if (standing == standing_.end()) continue;
      const auto* grant = std::get_if<Grant>(&standing->second.object->value);
      std::string message = "stays in force as it was last good";
      if (grant && grant->revoked)
        message = "stays as it was last good, and is revoked";
      else if (grant && grant->valid_until)
        message += ", until " + time_text(*grant->valid_until);
      problems_.push_back({Severity::Warning, last_good_.at(id).position, id.text(), "", "", message, ""});
    }
  }

  static void sort_by_name(std::vector<Workload>& workloads) {
    std::stable_sort(workloads.begin(), workloads.end(), [](const Workload& one, const Workload& other) {
      return std::tie(one.name, one.interface) < std::tie(other.name, other.interface);
    });
  }

  // Without them the guest of a Workload that was never good would be held by nobody. An interface that is another's
  // is that one's to say; of several that are refused it is the first by name, wherever they stand.
  void close_refused_guests(std::vector<Workload>& workloads) const {
    std::vector<Workload> closed;
    for (const auto& read : reads_) {
      if (unparsed_.contains(read->path)) continue;
      closed.insert(closed.end(), read->closed.begin(), read->closed.end());
      for (const ManifestObject& object : read->objects) {
        const auto* workload = std::get_if<Workload>(&object.value);
        if (const auto why = why_.find(object.id); workload != nullptr && why != why_.end())
          closed.push_back(closed_guest(workload->name, workload->interface, workload->interface_line,
                                        workload->position, why->second));
      }
    }
    sort_by_name(closed);
    std::set<std::string> held = {""};  // the host network's
    for (const Workload& each : workloads) held.insert(each.interface);
    for (Workload& each : closed)
      if (held.insert(each.interface).second) workloads.push_back(std::move(each));
    sort_by_name(workloads);
  }

  Admitted result() {
    Admitted admitted;
    DesiredState& desired = admitted.desired;
    for (const auto& [id, standing] : standing_) {
      const ManifestObject& object = *standing.object;
      admitted.last_good.emplace(id, KeptObject{object.position(), object.text, fixed_fields(object)});
      if (const auto* realm = std::get_if<Realm>(&object.value)) desired.realms.push_back(*realm);
      if (const auto* grant = std::get_if<Grant>(&object.value)) {
        desired.grants.push_back(*grant);
        desired.grants.back().made_anew = made_anew_.contains(id);
      }
      if (const auto* workload = std::get_if<Workload>(&object.value)) desired.workloads.push_back(*workload);
    }
    // Nobody else may know their addresses, at the next turn as little as at this one.
    for (const ObjectId& id : fallen_realms()) admitted.last_good.emplace(id, last_good_.at(id));
    close_refused_guests(desired.workloads);
    for (const auto& read : reads_)
      for (const auto& [id, head] : read->heads)
        if (id.kind == ResourceKind::Grant) desired.grant_heads[id.key] = head;
    desired.nobodys = std::move(nobodys_);
    desired.problems = std::move(problems_);
    std::stable_sort(desired.problems.begin(), desired.problems.end(), [](const Problem& a, const Problem& b) {
      return std::tie(a.position.file, a.position.line) < std::tie(b.position.file, b.position.line);
    });
    return admitted;
  }

  const std::vector<std::shared_ptr<const ReadResult>>& reads_;
  const LastGood& last_good_;
  const std::vector<IpPrefix>& protected_ranges_;
  std::set<std::string> unparsed_, doubtful_;  // files
  std::map<std::string, std::size_t> problems_of_file_;
  std::map<ObjectId, Found> found_;
  StandingObjects standing_;
  std::map<ObjectId, ManifestObject> kept_;  // last good versions that were read again
  std::set<ObjectId> fallen_back_;           // whose last good version was to stand
  std::set<ObjectId> replaced_;              // refused as they are now
  std::set<ObjectId> gone_;                  // refused with an error; an older version may stand for one
  std::set<ObjectId> made_anew_;             // whose predecessor may be in force
  std::map<ObjectId, Problem> why_;          // of objects that are good by themselves, the first
  std::set<std::pair<std::string, std::string>> told_;
  std::vector<RefusedPrefix> nobodys_;
  std::vector<Problem> problems_;
};

}  // namespace

Admitted admit(const std::vector<std::shared_ptr<const ReadResult>>& reads, const LastGood& last_good,
               const std::vector<IpPrefix>& protected_ranges) {
  return Admission(reads, last_good, protected_ranges).run();
}

}  // namespace grantd
