// Preloaded into a test: the BPF object that it loads is the file of GRANTD_MUTANT, and not the one that it was built
// with. So a mutant costs a compile of the object and no build of the tests.
#include <bpf/libbpf.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int bpf_object__open_skeleton(bpf_object_skeleton* skeleton, const bpf_object_open_opts* options) {
  using Open = int (*)(bpf_object_skeleton*, const bpf_object_open_opts*);
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "bpf_object__open_skeleton"));
  if (next && std::string(skeleton->name) != "grantd_bpf") return next(skeleton, options);
  const char* const path = std::getenv("GRANTD_MUTANT");
  std::ifstream file(path ? path : "", std::ios::binary);
  // The bytes stay for as long as the process: libbpf reads them until the object is loaded.
  static const std::string object((std::istreambuf_iterator<char>(file)), {});
  if (object.empty() || !next) {
    std::fprintf(stderr, "GRANTD_MUTANT: no such object\n");
    std::abort();
  }
  skeleton->data = const_cast<char*>(object.data());
  skeleton->data_sz = object.size();
  return next(skeleton, options);
}
