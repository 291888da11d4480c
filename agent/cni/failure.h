// An error as the CNI specification has it.
#pragma once

#include <string>

namespace grantd {

// 1 to 99 are the specification's.
enum class CniCode {
  IncompatibleVersion = 1,
  InvalidEnvironment = 4,
  Io = 5,
  Decode = 6,
  InvalidConfig = 7,
  TryAgainLater = 11,
  NotAvailable = 50,
  CannotClose = 100,  // a guest's interface cannot be closed: the pod must not start
  NotHeld = 101,      // of CHECK: a guest's interface is not closed and not held by the agent
  Differs = 102,      // of CHECK: a guest's interface, or its record, is not as ADD has left it
};

struct CniFailure {
  CniCode code = CniCode::InvalidConfig;
  std::string message;  // what failed, for whom
  std::string details;  // why
};

}  // namespace grantd
