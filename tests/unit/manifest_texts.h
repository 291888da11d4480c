// Short manifests for tests.
#pragma once

#include <string>

namespace grantd {

inline std::string realm_text(const std::string& name, const std::string& addresses, const std::string& identity = "") {
  return "---\napiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: " + name +
         "}\nspec: {identity: " + (identity.empty() ? "id-of-" + name : identity) + ", addresses: [" + addresses +
         "]}\n";
}

inline std::string grant_text(const std::string& name, const std::string& grantee,
                              const std::string& rest = "revoked: false") {
  return "---\napiVersion: keystone.io/v1alpha1\nkind: Grant\nmetadata: {name: " + name +
         "}\nspec: {grantorRealm: alice, granteeRealm: " + grantee + ", " + rest + "}\n";
}

inline std::string workload_text(const std::string& name, const std::string& interface, const std::string& address) {
  return "---\napiVersion: keystone.io/v1alpha1\nkind: Workload\nmetadata: {name: " + name +
         "}\nspec: {grantName: bob, interface: " + interface + ", addresses: [\"" + address + "\"]}\n";
}

inline std::string with_uid(std::string text, const std::string& uid) {
  return text.insert(text.find("metadata: {") + sizeof("metadata: {") - 1, "uid: " + uid + ", ");
}

}  // namespace grantd
