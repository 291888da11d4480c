// What an API server may send: a stream of events or pages of a list, cut anywhere. However the bytes are cut, the
// same objects are known afterwards.
#include "crd-sync/api/keystone_objects.h"
#include "crd-sync/kubernetes/core_objects.h"
#include "tests/fuzz/must.h"

#include <string_view>

using namespace grantd;

namespace {

constexpr ApiTime kBegin{std::chrono::seconds(1000)};

// Answers every request of the reflector with the input, until it waits longer than a minute.
template <typename Store>
void answer(ReflectorSettings settings, Store& store, std::string_view input, int status, std::size_t piece) {
  Reflector reflector(std::move(settings), store, 1);
  ApiTime now = kBegin;
  for (int request = 0; request < 3; request++) {
    now = std::max(now, reflector.due());
    const auto asked = reflector.next(now);
    if (!asked) continue;
    must(asked->path.find('\n') == std::string::npos, "a request is one line");
    reflector.on_head(status, now);
    bool good = true;
    for (std::size_t at = 0; at < input.size() && good; at += piece)
      good = reflector.on_data(input.substr(at, piece), now);
    ApiEnd end;
    end.status = status;
    if (!good) end.broken = ApiError{ApiErrorReason::Cut, "no good"};
    reflector.on_end(end, now);
    must(!good || reflector.counters().last_contact.has_value(), "it was heard");
  }
}

template <typename Store, typename Projection>
void try_cuts(const ReflectorSettings& settings, Projection projection, std::string_view input, int status,
              std::size_t piece) {
  Store whole(projection()), pieces(projection());
  answer(settings, whole, input, status, input.size() + 1);
  answer(settings, pieces, input, status, piece);
  must(whole.complete() == pieces.complete(), "whole or not, however it was cut");
  must(whole.objects().size() == pieces.objects().size(), "as many objects, however they were cut");
  auto other = pieces.objects().begin();
  for (const auto& [key, entry] : whole.objects()) {
    must(key == other->first && entry.uid == other->second.uid && entry.version == other->second.version,
         "the same objects, however they were cut");
    ++other;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr int kStatus[] = {200, 200, 200, 200, 200, 410, 429, 500};
  const int status = kStatus[data[0] % 8];
  const std::size_t piece = data[1] + 1U;
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  try_cuts<ApiObjects>(keystone_reflector(ResourceKind::Grant), keep_api_object, input, status, piece);
  try_cuts<Pods>(pod_reflector("node1"), keep_pod, input, status, piece);
  try_cuts<Namespaces>(
      namespace_reflector(), [] { return keep_namespace("guest-*"); }, input, status, piece);
  return 0;
}
