// Objects of keystone.io as the API server sends them, through the same strict readers as manifests.
#pragma once

#include "crd-sync/api/object_store.h"
#include "crd-sync/api/reflector.h"
#include "crd-sync/read_manifests.h"
#include "crd-sync/yaml_tree.h"

#include <nlohmann/json.hpp>

namespace grantd {

// Text is text, whatever it looks like. Without lines. `value` is no deeper than JsonLimits allow.
YamlNode tree_of(const nlohmann::json& value);

// What the server adds to an object (status, and of metadata all but name, namespace, uid and generation) is let be;
// the rest is read as strictly as a manifest.
ReadResult read_api_object(const nlohmann::json& object);

// Grants or Realms, to be admitted together (crd-sync/admission.h). A bad one is kept too, as the
// ReadResult that says why, so that admission can put its last good version in its place.
using ApiObjects = ObjectStore<ReadResult>;
ApiObjects::Projection keep_api_object();

// All objects of a kind of keystone.io. Of Grants those in keystone-system: one that somebody makes elsewhere, a
// guest in a namespace of its own, grants nothing.
ReflectorSettings keystone_reflector(ResourceKind kind);

}  // namespace grantd
