// Files of manifests: read, admitted, compiled. What was accepted is accepted again from the text that is kept of it
// on disk, and opens the same.
#include "agent/compile/compile.h"
#include "crd-sync/admission.h"
#include "crd-sync/read_manifests.h"
#include "tests/fuzz/must.h"

#include <memory>
#include <string>
#include <vector>

using namespace grantd;

namespace {

CompiledPolicy compiled(const ReadResult& read) {
  const DesiredState desired = admit({std::make_shared<const ReadResult>(read)}, {}).desired;
  NodeFacts node;
  InterfaceFact guest;
  guest.name = "bob0";
  guest.ifindex = 7;
  guest.mac = {{2, 0, 0, 0, 0, 1}};
  guest.peer_mac = MacAddress{{2, 0, 0, 0, 0, 2}};
  node.interfaces = {guest};
  node.pod_cidrs = {IpPrefix::parse("10.42.0.0/16").value()};
  TimeFacts time;
  time.now = WallTime(std::chrono::seconds(1'767'225'600));
  time.boot_now = 1'000'000'000;
  return compile(desired, node, time);
}

void must_open_the_same(const CompiledPolicy& one, const CompiledPolicy& other) {
  must(one.grants.size() == other.grants.size(), "the same Grants");
  for (std::size_t index = 0; index < one.grants.size(); index++) {
    const CompiledGrant &here = one.grants[index], &there = other.grants[index];
    must(here.key == there.key && here.grantor == there.grantor && here.grantee == there.grantee, "the same parties");
    must(here.rules == there.rules && here.identity_rules == there.identity_rules, "the same rules");
    must(here.not_before == there.not_before && here.not_after == there.not_after && here.phase == there.phase,
         "the same validity");
    for (std::size_t direction = 0; direction < GRANTD_DIRECTIONS; direction++)
      must(here.limit[direction] == there.limit[direction], "the same limits");
  }
  must(one.prefixes == other.prefixes, "the same addresses of realms");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ManifestFile file;
  file.path = "fuzzed.yaml";
  file.text.assign(reinterpret_cast<const char*>(data), size);
  const ReadResult read = read_manifests(file);
  bool told = read.refused.empty() && read.parsed;
  for (const Problem& problem : read.problems) {
    told = told || problem.severity == Severity::Error;
    must(problem.text().find('\n') == std::string::npos, "a problem is one line");
  }
  must(told, "a refusal says why");

  ManifestFile kept;
  kept.path = "kept.yaml";
  for (const ManifestObject& object : read.objects) kept.text += "---\n" + object.text.text() + "\n";
  const ReadResult again = read_manifests(kept);
  must(again.objects.size() == read.objects.size() && again.refused.empty(), "what was kept is accepted again");
  ReadResult accepted = read;
  accepted.refused.clear();
  must_open_the_same(compiled(accepted), compiled(again));
  return 0;
}
