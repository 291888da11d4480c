#include "crd-sync/api/base64.h"
#include "crd-sync/api/credentials.h"
#include "crd-sync/file_text.h"
#include "crd-sync/yaml_tree.h"

#include <filesystem>
#include <optional>
#include <string_view>

namespace grantd {
namespace {

constexpr std::size_t kMaxFileBytes = 4U << 20;

// One kubeconfig, looked through by name. Like kubectl it lets fields pass that it does not know.
class Kubeconfig {
 public:
  Kubeconfig(const std::string& path, YamlNode root)
      : path_(path), folder_(std::filesystem::path(path).parent_path()), root_(std::move(root)) {}

  Result<ApiServer> read() const {
    const std::string current = text(&root_, "current-context");
    if (current.empty()) return wrong("current-context", "is missing; accepted: the name of a context");
    const YamlNode* context = entry("contexts", current, "context");
    if (context == nullptr) return wrong("contexts", "has no \"" + current + "\", the current-context");
    const YamlNode* cluster = entry("clusters", text(context, "cluster"), "cluster");
    if (cluster == nullptr) return wrong("clusters", "has no \"" + text(context, "cluster") + "\"");
    const YamlNode* user = entry("users", text(context, "user"), "user");
    if (user == nullptr) return wrong("users", "has no \"" + text(context, "user") + "\"");
    ApiServer server;
    server.namespace_name = text(context, "namespace");
    if (auto done = read_cluster(*cluster, server); !done) return done.error();
    if (auto done = read_user(*user, server); !done) return done.error();
    return server;
  }

 private:
  Error wrong(std::string_view field, const std::string& what) const {
    return Error{path_ + ": " + std::string(field) + ": " + what};
  }

  static const YamlNode* field(const YamlNode* map, std::string_view name) {
    return map != nullptr && map->type == YamlNode::Type::Map ? map->find(name) : nullptr;
  }

  static std::string text(const YamlNode* map, std::string_view name) {
    const YamlNode* value = field(map, name);
    return value != nullptr && value->type == YamlNode::Type::Scalar ? value->text : "";
  }

  // The value at `inner` of the element of that name.
  const YamlNode* entry(std::string_view list, const std::string& name, std::string_view inner) const {
    const YamlNode* all = field(&root_, list);
    if (all == nullptr || all->type != YamlNode::Type::Sequence || name.empty()) return nullptr;
    for (const YamlNode& item : all->items)
      if (text(&item, "name") == name) return field(&item, inner);
    return nullptr;
  }

  std::string absolute(const std::string& file) const { return file.empty() ? "" : (folder_ / file).string(); }

  // NAME-data before NAME, as client-go has it.
  Result<PemSource> pem(const YamlNode& map, const std::string& name) const {
    PemSource source;
    if (const std::string data = text(&map, name + "-data"); !data.empty()) {
      auto decoded = decode_base64(data);
      if (!decoded) return wrong(name + "-data", "is no base64");
      source.data = std::move(*decoded);
    } else {
      source.file = absolute(text(&map, name));
    }
    return source;
  }

  Result<void> read_cluster(const YamlNode& cluster, ApiServer& server) const {
    server.url = text(&cluster, "server");
    while (server.url.ends_with('/')) server.url.pop_back();
    if (!acceptable_url(server.url))
      return wrong("server",
                   "\"" + server.url + "\" is not accepted; accepted: https://HOST:PORT, or http:// to this machine");
    if (text(&cluster, "insecure-skip-tls-verify") == "true")
      return wrong("insecure-skip-tls-verify", "the server is always verified; accepted: certificate-authority");
    for (const std::string_view unknown : {"proxy-url", "tls-server-name"})
      if (!text(&cluster, unknown).empty()) return wrong(unknown, "is not supported");
    auto authority = pem(cluster, "certificate-authority");
    if (!authority) return authority.error();
    server.authority = std::move(authority).value();
    return {};
  }

  // Plain HTTP only to this machine (kubectl proxy).
  static bool acceptable_url(std::string_view url) {
    if (url.find_first_of(" \t\r\n\"@?#") != url.npos) return false;
    if (url.starts_with("https://")) return url.size() > 8;
    for (const std::string_view local : {"http://127.0.0.1", "http://[::1]", "http://localhost"})
      if (url == local || (url.starts_with(local) && (url[local.size()] == ':' || url[local.size()] == '/')))
        return true;
    return false;
  }

  Result<void> read_user(const YamlNode& user, ApiServer& server) const {
    for (const std::string_view unknown : {"exec", "auth-provider", "username", "password", "as"})
      if (field(&user, unknown) != nullptr)
        return wrong(unknown, "is not supported; accepted: token, tokenFile, client-certificate with client-key");
    server.token = text(&user, "token");
    if (server.token.find_first_of(" \t\r\n") != std::string::npos) return wrong("token", "holds a blank");
    server.token_file = absolute(text(&user, "tokenFile"));
    auto certificate = pem(user, "client-certificate"), key = pem(user, "client-key");
    if (!certificate) return certificate.error();
    if (!key) return key.error();
    if (certificate.value().empty() != key.value().empty())
      return wrong("client-certificate", "and client-key belong together");
    server.certificate = std::move(certificate).value();
    server.key = std::move(key).value();
    return {};
  }

  const std::string& path_;
  std::filesystem::path folder_;
  YamlNode root_;
};

}  // namespace

Result<ApiServer> kubeconfig_server(const std::string& path) {
  const auto file = read_whole_file(path, kMaxFileBytes);
  if (!file) return file.error();
  std::optional<YamlNode> root;
  const auto error = read_yaml(file.value(), {}, [&root](int, YamlNode&& document) {
    if (!root) root = std::move(document);
  });
  if (error) return Error{path + ":" + std::to_string(error->line) + ": " + error->message};
  if (!root) return Error{path + ": is empty; accepted: a kubeconfig"};
  return Kubeconfig(path, std::move(*root)).read();
}

}  // namespace grantd
