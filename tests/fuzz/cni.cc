// What a runtime hands to grantd-cni, the results that libcni keeps, and the node's chain. The first byte chooses.
#include "agent/cni/chain.h"
#include "agent/cni/decide.h"
#include "agent/cni/request.h"
#include "agent/guests/cni_cache.h"
#include "crd-sync/api/json.h"
#include "tests/fuzz/must.h"

#include <string>
#include <string_view>

using namespace grantd;

namespace {

// CNI_ARGS on the first line, the configuration after it.
void try_request(std::string_view input, const char* command) {
  const std::size_t line = std::min(input.find('\n'), input.size());
  const Environment environment{{"CNI_COMMAND", command},          {"CNI_CONTAINERID", "c0"},
                                {"CNI_NETNS", "/run/netns/guest"}, {"CNI_IFNAME", "eth0"},
                                {"CNI_PATH", "/opt/cni/bin"},      {"CNI_ARGS", std::string(input.substr(0, line))}};
  const auto request = read_request(environment, input.substr(std::min(line + 1, input.size())));
  if (const auto* failure = std::get_if<CniFailure>(&request)) {
    must(!failure->message.empty(), "a refusal says why");
    return;
  }
  const auto& read = std::get<CniRequest>(request);
  if (!read.previous) return;
  const auto result = read_result(read);
  if (const auto* failure = std::get_if<CniFailure>(&result)) must(!failure->message.empty(), "a refusal says why");
}

void try_result(std::string_view input) {
  const auto record = parse_cni_result(input);
  if (!record) return;
  must(!record->pod_name.empty() && !record->pod_namespace.empty(), "a record names its pod");
}

// With our file in place nothing changes any more.
void try_chain(std::string_view input) {
  PluginSettings settings;
  ConfFiles files{{"10-net.conflist", Result<std::string>(std::string(input))}};
  const Chain chain = make_chain(files, settings);
  if (chain.text.empty()) return;
  must(is_our_chain(chain.text), "our chain bears our mark");
  must(parse_json(chain.text, {}).has_value(), "our chain is JSON");
  files.emplace(kChainFile, Result<std::string>(chain.text));
  const Chain again = make_chain(files, settings);
  must(again.text == chain.text && !again.overtaken, "with our file in place nothing changes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr const char* kCommands[] = {"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"};
  switch (data[0] % 8) {
    case 6:
      try_result(input);
      break;
    case 7:
      try_chain(input);
      break;
    default:
      try_request(input, kCommands[data[0] % 8]);
  }
  return 0;
}
