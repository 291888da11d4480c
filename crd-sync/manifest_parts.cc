#include "crd-sync/manifest_parts.h"

#include <algorithm>
#include <variant>

namespace grantd {
namespace {

bool begins_document(std::string_view line) {
  return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

bool says_nothing(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t\r");
  return first == std::string_view::npos || line[first] == '#';
}

class Mover {
 public:
  Mover(int documents, int lines) : documents_(documents), lines_(lines) {}

  void operator()(SourcePosition& position) const {
    if (position.document > 0) position.document += documents_;
    (*this)(position.line);
  }
  void operator()(int& line) const {
    if (line > 0) line += lines_;
  }
  void operator()(Realm& realm) const {
    (*this)(realm.position);
    (*this)(realm.identity_line);
    for (RealmAddress& address : realm.addresses) (*this)(address.position);
  }
  void operator()(Grant& grant) const {
    (*this)(grant.position);
    for (int* line : {&grant.grantor_line, &grant.grantee_line, &grant.dns_line, &grant.egress_burst_line,
                      &grant.ingress_burst_line})
      (*this)(*line);
    for (Destination& destination : grant.destinations.own()) (*this)(destination.position);
    for (SourcePosition& position : grant.ingress_from_at) (*this)(position);
    for (WrittenField& field : grant.time_fields) (*this)(field.position);
  }
  void operator()(Workload& workload) const {
    (*this)(workload.position);
    for (int* line : {&workload.grant_line, &workload.interface_line, &workload.mac_line, &workload.cgroup_line})
      (*this)(*line);
    for (int& line : workload.address_lines) (*this)(line);
  }

 private:
  int documents_, lines_;
};

}  // namespace

std::vector<ManifestPart> split_manifest(std::string_view text) {
  std::vector<ManifestPart> parts = {{text}};
  bool any = false;  // whether the last part is a document, and not just what stands before the first
  int line_number = 1;
  for (std::size_t at = 0; at < text.size(); ++line_number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with('%') || line.starts_with("...")) return {{text}};
    if (begins_document(line)) {
      ManifestPart& last = parts.back();
      last.text = last.text.substr(0, last.text.size() - (text.size() - at));
      parts.push_back({text.substr(at), last.first_document + (any ? 1 : 0), line_number});
      any = true;
    }
    any = any || !says_nothing(line);
    at = end + 1;
  }
  return parts;
}

ReadResult moved(ReadResult result, int documents, int lines) {
  const Mover move(documents, lines);
  for (ManifestObject& object : result.objects) std::visit(move, object.value);
  for (Workload& guest : result.closed) move(guest);
  for (RefusedPrefix& prefix : result.apart) move(prefix.position);
  for (Problem& problem : result.problems) move(problem.position);
  return result;
}

}  // namespace grantd
