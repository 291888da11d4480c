// What the container runtime itself says of guests of which no record tells, asked over the CRI's socket.
#pragma once

#include "agent/guests/cri/cri_socket.h"
#include "agent/guests/pod_record.h"
#include "crd-sync/api/backoff.h"
#include "crd-sync/api/http_client.h"
#include "crd-sync/resources.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

class RuntimeRecords {
 public:
  // `socket`: a path, or kAnyCriSocket. It need not be there yet.
  static Result<std::unique_ptr<RuntimeRecords>> open(const std::string& socket);
  RuntimeRecords(const RuntimeRecords&) = delete;
  RuntimeRecords& operator=(const RuntimeRecords&) = delete;

  // For the event loop: when it is readable, call drain(). True: records or trouble() have changed.
  int fd() const { return client_->fd(); }
  bool drain();

  // By uid. `relying`: guests of which nothing else tells; what is known of others is forgotten. `unfound`: those of
  // them that what is known does not find. It asks for these, again and again, ever more seldom.
  void want(const std::set<std::string>& relying, const std::set<std::string>& unfound);
  const PodRecord* find(const std::string& uid) const;
  std::optional<Problem> trouble() const;

 private:
  using Answered = std::function<void(Result<std::string> message)>;

  explicit RuntimeRecords(std::string socket);
  std::string path() const;
  void ask();
  void ask_next();
  void call(const char* method, const std::string& message, Answered answered);
  void take(const std::string& uid, std::optional<PodRecord> record);
  void finish(const std::string& error);

  const std::string socket_;
  std::set<std::string> unfound_;
  std::map<std::string, PodRecord> known_;
  std::map<std::string, std::string> left_;  // uid -> sandbox, still to be asked about
  std::string asked_, error_, first_error_;
  bool asking_ = false, changed_ = false;
  ApiTime due_{}, asked_at_{};
  Backoff backoff_;
  std::unique_ptr<HttpClient> client_;  // goes first: it calls the rest
};

}  // namespace grantd
