#include "crd-sync/api/keystone_objects.h"

namespace grantd {

KeystoneObjects::KeystoneObjects(std::uint64_t seed)
    : realms_(keep_api_object()),
      grants_(keep_api_object()),
      realm_reflector_(keystone_reflector(ResourceKind::Realm), realms_, seed),
      grant_reflector_(keystone_reflector(ResourceKind::Grant), grants_, seed + 1) {}

void KeystoneObjects::follow(ApiClient& client) {
  client.follow(realm_reflector_);
  client.follow(grant_reflector_);
}

std::vector<std::shared_ptr<const ReadResult>> KeystoneObjects::reads() const {
  std::vector<std::shared_ptr<const ReadResult>> all;
  for (const ApiObjects* store : {&realms_, &grants_})
    for (const auto& [key, entry] : store->objects()) all.push_back(entry.object);
  return all;
}

}  // namespace grantd
