#include "crd-sync/api/credentials.h"

#include "crd-sync/file_text.h"

#include <algorithm>

namespace grantd {
namespace {

constexpr std::size_t kMaxTokenBytes = 64U << 10;
constexpr std::size_t kMaxNamespaceBytes = 256;

// Without the blanks around it. A token with anything else in it would break out of its header.
std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool is_token(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char character) { return character > ' ' && character < 0x7f; });
}

}  // namespace

Result<ApiServer> in_cluster_server(const std::string& host, const std::string& port, const std::string& directory) {
  if (host.empty() || port.empty())
    return Error{
        "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; accepted: --kubeconfig"};
  ApiServer server;
  const bool bare_ipv6 = host.find(':') != host.npos && host[0] != '[';
  server.url = "https://" + (bare_ipv6 ? "[" + host + "]" : host) + ":" + port;
  server.authority.file = directory + "/ca.crt";
  server.token_file = directory + "/token";
  for (const std::string& file : {server.authority.file, server.token_file})
    if (const auto text = read_whole_file(file, 1U << 20); !text) return text.error();
  if (TokenReader(server).read().empty()) return Error{server.token_file + ": holds no token"};
  if (const auto name = read_whole_file(directory + "/namespace", kMaxNamespaceBytes); name.ok())
    server.namespace_name = trimmed(name.value());
  return server;
}

const std::string& TokenReader::read() {
  if (file_.empty()) return last_;
  if (const auto text = read_whole_file(file_, kMaxTokenBytes); text.ok())
    if (const std::string token = trimmed(text.value()); is_token(token)) last_ = token;
  return last_;
}

}  // namespace grantd
