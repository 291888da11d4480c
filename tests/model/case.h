// One packet on its way through the model.
#pragma once

#include "tests/model/model.h"

namespace grantd::model {

struct Model::Case {
  const Arrival& arrival;
  BootNanoseconds boot;
  WallTime wall;
  bool egress = false;
  const Workload* guest = nullptr;
  const Grant* grant = nullptr;  // nullptr: quarantine
  std::uint32_t endpoint_id = 0;
  Packet packet = {};
  Who from = {};  // of a packet to the guest: who sends it

  const Published& published(const Model& model) const { return model.published_.at(grant->key()); }
  Tables& tables(Model& model) const { return model.tables_[grant->key()]; }
  const IpAddress& local() const { return egress ? packet.source : packet.destination; }
  const IpAddress& peer() const { return egress ? packet.destination : packet.source; }
};

}  // namespace grantd::model
