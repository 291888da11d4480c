// What compile refuses, told in its parts.
#pragma once

#include "crd-sync/resources.h"
#include "maps/result.h"

#include <string>
#include <utility>

namespace grantd {

// `wrong` names the object, and where one of its fields is at fault that, its value and its place. Fills in the rest,
// and says all of it in one line, without the object and the place.
inline Error refusal(Problem& wrong, std::string message, std::string accepted) {
  wrong.message = std::move(message);
  wrong.accepted = std::move(accepted);
  Problem alone = wrong;
  alone.object.clear();
  alone.position = {};
  return Error{alone.text(), 0};
}

}  // namespace grantd
