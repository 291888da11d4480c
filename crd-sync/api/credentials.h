// Where the API server is and how it knows us: from a pod's service account, or from a kubeconfig.
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

// A certificate or key in PEM: in a file, which is read again for each connection, or given.
struct PemSource {
  std::string file;
  std::string data;
  bool empty() const { return file.empty() && data.empty(); }
};

struct ApiServer {
  std::string url;             // https://HOST[:PORT][/PATH], without a slash at the end
  PemSource authority;         // of the server's certificate; empty: the system's
  PemSource certificate, key;  // of ours; empty: none
  std::string token;           // bearer token; "" for none
  std::string token_file;      // read again for each request, since it rotates; before `token`
  std::string namespace_name;  // ours in the cluster, or the context's; "" where unknown
};

// What a pod is given: `host` and `port` are its KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
Result<ApiServer> in_cluster_server(const std::string& host, const std::string& port,
                                    const std::string& directory = "/var/run/secrets/kubernetes.io/serviceaccount");

// The current context of a kubeconfig. Paths in it count from its own directory. What would need a
// program or would not verify the server (exec, insecure-skip-tls-verify) is refused with its name.
Result<ApiServer> kubeconfig_server(const std::string& path);

// The bearer token to send now: of the file, else the last one that was read from it. "" for none.
class TokenReader {
 public:
  explicit TokenReader(const ApiServer& server) : file_(server.token_file), last_(server.token) {}
  const std::string& read();

 private:
  std::string file_;
  std::string last_;
};

}  // namespace grantd
