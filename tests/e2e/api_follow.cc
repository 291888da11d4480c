// Follows one resource kind with the agent's own client and tells what it knows, for the tests:
//   api_follow KUBECONFIG PATH API_VERSION KIND [FIELD_SELECTOR]
// A line of JSON whenever something has changed, and once a second.
#include "crd-sync/api/api_client.h"
#include "crd-sync/api/json.h"
#include "crd-sync/api/object_store.h"

#include <poll.h>

#include <iostream>

namespace grantd {
namespace {

using Labels = ObjectStore<std::string>;

nlohmann::json told(const Labels& store, const ReflectorCounters& counters) {
  nlohmann::json errors = nlohmann::json::object(), objects = nlohmann::json::object();
  for (std::size_t reason = 0; reason < counters.errors.size(); ++reason)
    if (counters.errors[reason] > 0)
      errors[std::string(api_error_name(static_cast<ApiErrorReason>(reason)))] = counters.errors[reason];
  for (const auto& [key, entry] : store.objects()) objects[key.namespace_name + "/" + key.name] = *entry.object;
  return {{"complete", store.complete()},  {"objects", objects}, {"following", counters.following},
          {"relists", counters.relists()}, {"errors", errors},   {"last_error", counters.last_error}};
}

// Of each object the label "value".
Result<std::optional<std::string>> value_of(const nlohmann::json& object) {
  const nlohmann::json* labels = json_member(object.at("metadata"), "labels");
  return std::optional<std::string>(labels != nullptr ? json_text(*labels, "value") : "");
}

int follow(const std::string& kubeconfig, ReflectorSettings settings) {
  const auto server = kubeconfig_server(kubeconfig);
  if (!server) {
    std::cerr << server.error().message << "\n";
    return 1;
  }
  auto client = ApiClient::open(server.value());
  if (!client) {
    std::cerr << client.error().message << "\n";
    return 1;
  }
  Labels store(value_of);
  Reflector reflector(std::move(settings), store, 1);
  client.value()->follow(reflector);
  std::string last;
  while (std::cout) {
    pollfd waiting{client.value()->fd(), POLLIN, 0};
    const bool quiet = poll(&waiting, 1, 1000) == 0;
    client.value()->work();
    const std::string line = told(store, reflector.counters()).dump();
    if (line != last || quiet) std::cout << (last = line) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace grantd

int main(int count, char** arguments) {
  if (count < 5) return 2;
  grantd::ReflectorSettings settings;
  settings.path = arguments[2];
  settings.api_version = arguments[3];
  settings.kind = arguments[4];
  if (count > 5) settings.field_selector = arguments[5];
  return grantd::follow(arguments[1], std::move(settings));
}
