#include "crd-sync/api/base64.h"
#include "crd-sync/api/credentials.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::HasSubstr;

TEST(Base64, DecodesWhatItShould) {
  EXPECT_EQ(decode_base64("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decode_base64("Zm9v\nYmE="), "fooba");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("/+8A"), std::string("\xff\xef\0", 3));
  EXPECT_EQ(decode_base64(""), "");
}

TEST(Base64, RefusesAnythingElse) {
  for (const char* bad : {"Zg=", "Zg", "Z===", "Zg=a", "Zm9v!A==", "====", "Zg== Zg=="})
    EXPECT_FALSE(decode_base64(bad)) << bad;
}

class InCluster : public testing::Test {
 protected:
  void SetUp() override {
    folder_.write("token", "first\n");
    folder_.write("ca.crt", "PEM");
    folder_.write("namespace", "keystone-system");
  }
  TemporaryDirectory folder_;
};

TEST_F(InCluster, TakesWhatThePodIsGiven) {
  const auto server = in_cluster_server("10.43.0.1", "443", folder_.path());
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(server.value().url, "https://10.43.0.1:443");
  EXPECT_EQ(server.value().namespace_name, "keystone-system");
  EXPECT_EQ(server.value().authority.file, folder_.path("ca.crt"));
  EXPECT_EQ(TokenReader(server.value()).read(), "first");
}

TEST_F(InCluster, PutsIpv6IntoBrackets) {
  EXPECT_EQ(in_cluster_server("fd00::1", "443", folder_.path()).value().url, "https://[fd00::1]:443");
}

TEST_F(InCluster, ReadsTheTokenAgain) {
  TokenReader tokens(in_cluster_server("10.43.0.1", "443", folder_.path()).value());
  EXPECT_EQ(tokens.read(), "first");
  folder_.write("token", "second");
  EXPECT_EQ(tokens.read(), "second");
}

TEST_F(InCluster, KeepsTheLastTokenWhileTheFileIsUnusable) {
  TokenReader tokens(in_cluster_server("10.43.0.1", "443", folder_.path()).value());
  EXPECT_EQ(tokens.read(), "first");
  for (const char* bad : {"", "\n", "two words", "x\r\nX-Injected: yes"}) {
    folder_.write("token", bad);
    EXPECT_EQ(tokens.read(), "first") << bad;
  }
  std::filesystem::remove(folder_.path("token"));
  EXPECT_EQ(tokens.read(), "first");
}

TEST_F(InCluster, SaysWhatIsMissing) {
  EXPECT_THAT(in_cluster_server("", "", folder_.path()).error().message, HasSubstr("--kubeconfig"));
  folder_.write("token", " ");
  EXPECT_THAT(in_cluster_server("h", "1", folder_.path()).error().message, HasSubstr("token"));
  std::filesystem::remove(folder_.path("ca.crt"));
  EXPECT_THAT(in_cluster_server("h", "1", folder_.path()).error().message, HasSubstr("ca.crt"));
}

// A kubeconfig with two contexts; what stands in the cluster and the user of the current one is given.
std::string kubeconfig(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\npreferences: {}\ncurrent-context: home\n"
         "contexts:\n"
         "- {name: other, context: {cluster: other, user: other}}\n"
         "- {name: home, context: {cluster: home, user: alice, namespace: garden}}\n"
         "clusters:\n"
         "- {name: other, cluster: {server: 'https://192.0.2.9'}}\n"
         "- {name: home, cluster: {" +
         cluster +
         "}}\n"
         "users:\n"
         "- {name: other, user: {token: wrong}}\n"
         "- {name: alice, user: {" +
         user + "}}\n";
}

class KubeconfigFile : public testing::Test {
 protected:
  Result<ApiServer> read(const std::string& cluster, const std::string& user) {
    folder_.write("config", kubeconfig(cluster, user));
    return kubeconfig_server(folder_.path("config"));
  }
  std::string error(const std::string& cluster, const std::string& user) {
    const auto server = read(cluster, user);
    return server.ok() ? "accepted" : server.error().message;
  }
  TemporaryDirectory folder_;
};

constexpr const char* kServer = "server: 'https://192.0.2.1:6443/'";

TEST_F(KubeconfigFile, TakesTheCurrentContext) {
  const auto server = read(kServer, "token: secret");
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(server.value().url, "https://192.0.2.1:6443");
  EXPECT_EQ(server.value().namespace_name, "garden");
  EXPECT_EQ(server.value().token, "secret");
}

TEST_F(KubeconfigFile, TakesInlineCertificates) {
  const auto server = read(std::string(kServer) + ", certificate-authority-data: Q0E=, certificate-authority: ignored",
                           "client-certificate-data: Q0VSVA==, client-key-data: S0VZ");
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(server.value().authority.data, "CA");
  EXPECT_EQ(server.value().authority.file, "");
  EXPECT_EQ(server.value().certificate.data, "CERT");
  EXPECT_EQ(server.value().key.data, "KEY");
}

TEST_F(KubeconfigFile, CountsPathsFromItsOwnDirectory) {
  const auto server = read(std::string(kServer) + ", certificate-authority: pki/ca.crt",
                           "client-certificate: me.crt, client-key: /etc/me.key, tokenFile: token");
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_EQ(server.value().authority.file, folder_.path("pki/ca.crt"));
  EXPECT_EQ(server.value().certificate.file, folder_.path("me.crt"));
  EXPECT_EQ(server.value().key.file, "/etc/me.key");
  EXPECT_EQ(server.value().token_file, folder_.path("token"));
}

TEST_F(KubeconfigFile, RefusesWhatWouldNotVerifyOrNeedsAProgram) {
  EXPECT_THAT(error(std::string(kServer) + ", insecure-skip-tls-verify: true", ""), HasSubstr("insecure-skip"));
  EXPECT_THAT(error(kServer, "exec: {command: aws}"), HasSubstr("exec"));
  EXPECT_THAT(error(kServer, "username: a, password: b"), HasSubstr("username"));
  EXPECT_THAT(error("server: 'http://192.0.2.1'", ""), HasSubstr("server"));
  EXPECT_THAT(error("server: 'http://localhost.example'", ""), HasSubstr("server"));
  EXPECT_EQ(error("server: 'http://127.0.0.1:8001'", ""), "accepted");
  EXPECT_THAT(error("server: ''", ""), HasSubstr("server"));
  EXPECT_THAT(error(std::string(kServer) + ", certificate-authority-data: '%'", ""), HasSubstr("base64"));
  EXPECT_THAT(error(kServer, "client-certificate: x"), HasSubstr("client-key"));
}

TEST_F(KubeconfigFile, SaysWhatIsMissing) {
  const auto read_text = [this](const std::string& text) {
    folder_.write("config", text);
    return kubeconfig_server(folder_.path("config")).error().message;
  };
  EXPECT_THAT(read_text(""), HasSubstr("empty"));
  EXPECT_THAT(read_text("[]"), HasSubstr("current-context"));
  EXPECT_THAT(read_text("{"), HasSubstr("config:"));
  EXPECT_THAT(read_text("current-context: home\ncontexts: []"), HasSubstr("\"home\""));
  EXPECT_THAT(kubeconfig_server(folder_.path("none")).error().message, HasSubstr("none"));
}

}  // namespace
}  // namespace grantd
