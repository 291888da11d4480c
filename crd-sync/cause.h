// Why a guest is in quarantine or cannot be held, for what can be done about it; the text beside it tells the details.
#pragma once

#include <cstdint>

namespace grantd {

enum class Cause : std::uint8_t {
  None,               // it is governed and held
  RealmUnclear,       // the name of its namespace and its label do not agree, or are no Realm's
  LabelsUnclear,      // the pod's are too many or too long to be known
  NoGrant,            // its realm has none
  GrantNotOfRealm,    // a label names one that is another realm's, or none
  GrantLeavesItOut,   // by its selectors
  GrantNotActive,     // not yet, or no longer
  SeveralGrants,      // and nothing chooses among them
  GrantRefused,       // by this node or by its sources
  WorkloadRefused,    // itself, with no earlier version in force
  NoRoom,             // a limit of this node is reached
  ClockNotTrusted,    // and its Grant has dates
  NotAsRecorded,      // its interface or its addresses are not what the records or the API server say
  MacUnknown,         // of its own end
  AddressOfNode,      // its address is the node's own
  AddressShared,      // with another guest
  NotInForce,         // its Grant has no policy in force, though nothing refuses it
  InterfaceNotFound,  // on this node
  HostNetwork,        // where it cannot be held
};
inline constexpr int kCauses = static_cast<int>(Cause::HostNetwork) + 1;

}  // namespace grantd
