#include "crd-sync/kubernetes/stray_grants.h"

#include "crd-sync/api/api_object.h"
#include "crd-sync/read_object.h"

#include <optional>
#include <string>

namespace grantd {
namespace {

constexpr std::size_t kShown = 10;

ReflectorSettings stray_reflector() {
  ReflectorSettings settings = keystone_reflector(ResourceKind::Grant);
  settings.path = "/apis/keystone.io/v1alpha1/grants";
  settings.field_selector = "metadata.namespace!=" + std::string(kDefaultNamespace);
  return settings;
}

}  // namespace

StrayGrants::StrayGrants(std::uint64_t seed)
    : known_(
          [](const nlohmann::json&) -> Result<std::optional<std::monostate>> {
            return std::optional(std::monostate());
          },
          kMost),
      reflector_(stray_reflector(), known_, seed) {}

std::vector<Problem> StrayGrants::problems() const {
  std::vector<Problem> all;
  const std::string home(kDefaultNamespace);
  for (const auto& [key, entry] : known_.objects()) {
    if (all.size() == kShown) {
      all.push_back(
          problem_at(Severity::Warning, kApiPath,
                     std::to_string(known_.objects().size() - kShown) + " more Grants are outside of " + home));
      break;
    }
    all.push_back({Severity::Warning,
                   {kApiPath, 0, 0},
                   "Grant " + key.namespace_name + "/" + key.name,
                   "metadata.namespace",
                   key.namespace_name,
                   "no agent follows it there, so it grants nothing; make it in " + home + " and delete this one",
                   home});
  }
  return all;
}

}  // namespace grantd
