// Moved: a descriptor is nothing of the kernel's maps.
#pragma once

#include "maps/descriptor.h"
