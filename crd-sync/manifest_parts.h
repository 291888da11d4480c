// A manifest file cut into its documents, so that after an edit only those that differ are parsed.
#pragma once

#include "crd-sync/read_manifests.h"

#include <string_view>
#include <vector>

namespace grantd {

struct ManifestPart {
  std::string_view text;
  int first_document = 1;
  int first_line = 1;
};

// At lines of ---, which no value can hold. A file with directives (%) or lines of ... stays whole.
std::vector<ManifestPart> split_manifest(std::string_view text);

// The same objects and problems, so many documents and lines further on.
ReadResult moved(ReadResult result, int documents, int lines);

}  // namespace grantd
