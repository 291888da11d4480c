// Follows Realms and Grants with the agent's own client and tells what is admitted of them, for the tests:
//   api_admit KUBECONFIG
// A line of JSON whenever something has changed.
#include "crd-sync/admission.h"
#include "crd-sync/api/keystone_objects.h"

#include <poll.h>

#include <iostream>

namespace grantd {
namespace {

nlohmann::json told(const DesiredState& desired) {
  nlohmann::json realms = nlohmann::json::array(), grants = nlohmann::json::object(), problems = realms;
  for (const Realm& realm : desired.realms) realms.push_back(realm.name);
  for (const Grant& grant : desired.grants)
    grants[grant.key()] = {{"egress", grant.egress_bps.value_or(0)}, {"grantee", grant.grantee_realm}};
  for (const Problem& problem : desired.problems) problems.push_back(problem.text());
  return {{"realms", realms}, {"grants", grants}, {"problems", problems}};
}

int follow(const std::string& kubeconfig) {
  const auto server = kubeconfig_server(kubeconfig);
  if (!server) return 1;
  KeystoneObjects objects(1);
  auto client = ApiClient::open(server.value());
  if (!client) return 1;
  objects.follow(*client.value());
  LastGood last_good;
  std::uint64_t seen = 0;
  while (std::cout) {
    pollfd waiting{client.value()->fd(), POLLIN, 0};
    poll(&waiting, 1, -1);
    client.value()->work();
    if (!objects.complete() || objects.revision() == seen) continue;
    seen = objects.revision();
    Admitted admitted = admit(objects.reads(), last_good);
    last_good = std::move(admitted.last_good);
    std::cout << told(admitted.desired).dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace grantd

int main(int count, char** arguments) { return count == 2 ? grantd::follow(arguments[1]) : 2; }
