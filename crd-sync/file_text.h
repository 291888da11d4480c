// Whole files in and out, bounded and atomic.
#pragma once

#include "maps/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace grantd {

// Regular files only, links to such included; never blocks on a pipe.
Result<std::string> read_whole_file(const std::string& path, std::size_t limit);

// The same, but for a file that somebody has open for writing: an error with the number EAGAIN, because half of a file
// may mean more than all of it. Where this cannot be told (a file system without leases, another's file and no
// CAP_LEASE) it is read all the same.
Result<std::string> read_finished_file(const std::string& path, std::size_t limit);

// Replaces the file: a temporary file beside it (PATH.new), fsync, rename.
Result<void> replace_file(const std::string& path, std::string_view text, unsigned mode = 0600);

}  // namespace grantd
