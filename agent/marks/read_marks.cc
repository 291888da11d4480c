#include "agent/marks/read_marks.h"

namespace grantd {

MarkSources read_mark_sources() {
  MarkSources sources;
  auto& [routing, nftables, legacy] = sources;
  if (auto done = read_routing_marks(routing); !done) routing.unread.push_back(done.error().message);
  if (auto done = read_nftables_marks(nftables); !done) nftables.unread.push_back(done.error().message);
  read_legacy_marks(legacy);
  return sources;
}

MarkFacts all_marks(const MarkSources& sources) {
  MarkFacts all;
  for (const MarkFacts& source : sources) {
    all.add_all(source);
    all.unread.insert(all.unread.end(), source.unread.begin(), source.unread.end());
  }
  return all;
}

}  // namespace grantd
