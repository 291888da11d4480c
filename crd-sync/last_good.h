// The last good version of each object, kept on disk: a mistake in a manifest, even one made while
// the agent was down, takes nothing away that was in force.
#pragma once

#include "crd-sync/read_manifests.h"
#include "maps/result.h"

#include <map>
#include <string>
#include <string_view>

namespace grantd {

// Fields that cannot be changed -> their values.
using FixedFields = std::map<std::string, std::string>;
// Tells an object from one that was made under the same name after it was deleted.
inline constexpr const char* kUidField = "metadata.uid";
inline constexpr const char *kIdentityField = "spec.identity", *kGrantorField = "spec.grantorRealm",
                            *kGranteeField = "spec.granteeRealm";

struct KeptObject {
  SourcePosition position;  // where its text was read
  SharedText text;          // ManifestObject::text
  FixedFields fixed;        // not on disk; empty until the object was read
};

using LastGood = std::map<ObjectId, KeptObject>;

FixedFields fixed_fields(const ManifestObject& object);
FixedFields fixed_fields(const ObjectId& id, const KeptObject& kept);

// The object itself. It was good when it was kept, so an Error means damage, or that this version
// of grantd is stricter than the one that kept it.
Result<ManifestObject> read_kept(const ObjectId& id, const KeptObject& kept);

// What a Realm named, also where it is not good any more.
std::vector<RefusedPrefix> kept_prefixes(const KeptObject& kept);

// The form on disk: a line with the version and a hash of the rest, then each object as
//   KIND KEY LINE DOCUMENT BYTES FILE
// and its text.
std::string last_good_text(const LastGood& objects);
Result<LastGood> parse_last_good(std::string_view text);

// The file in the state directory.
class LastGoodFile {
 public:
  explicit LastGoodFile(std::string state_directory);

  Result<LastGood> load();  // no file yet: nothing kept
  // Whole or not at all, also when the machine stops in between. Makes the directory. What is
  // there already is not written again.
  Result<void> save(const LastGood& objects);

 private:
  std::string directory_;
  std::string path_;
  std::string written_;  // the first line of what the file holds, with its hash
};

}  // namespace grantd
