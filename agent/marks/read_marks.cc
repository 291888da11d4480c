#include "agent/marks/read_marks.h"

namespace grantd {

MarkFacts read_marks() {
  MarkFacts facts;
  for (const auto read : {read_routing_marks, read_nftables_marks, read_legacy_marks})
    if (auto done = read(facts); !done) facts.unread.push_back(done.error().message);
  return facts;
}

}  // namespace grantd
