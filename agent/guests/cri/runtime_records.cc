#include "agent/guests/cri/runtime_records.h"

#include "agent/guests/cri/grpc.h"
#include "agent/guests/cri/sandbox.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace grantd {

namespace {

constexpr const char* kUsual[] = {"/run/k3s/containerd/containerd.sock", "/run/containerd/containerd.sock",
                                  "/run/crio/crio.sock"};
// A guest that has just come may be found by its record in a moment.
constexpr Backoff::Duration kFirst{400}, kAtMostEvery{250}, kConnect{2'000}, kWhole{5'000};

ApiTime now() { return std::chrono::steady_clock::now(); }

}  // namespace

RuntimeRecords::RuntimeRecords(std::string socket) : socket_(std::move(socket)), backoff_(1, kFirst) {}

Result<std::unique_ptr<RuntimeRecords>> RuntimeRecords::open(const std::string& socket) {
  std::unique_ptr<RuntimeRecords> records(new RuntimeRecords(socket));
  ApiServer server;
  server.url = "http://localhost";  // as gRPC calls whoever is behind a socket
  HttpLimits limits;
  limits.connect = kConnect;
  limits.whole = kWhole;
  auto client = HttpClient::open(server, limits);
  if (!client) return client.error();
  records->client_ = std::move(client).value();
  return records;
}

bool RuntimeRecords::drain() {
  client_->work();
  if (!asking_ && !unfound_.empty() && now() >= due_) ask();
  return std::exchange(changed_, false);
}

void RuntimeRecords::want(const std::set<std::string>& relying, const std::set<std::string>& unfound) {
  std::erase_if(known_, [&](const auto& each) { return !relying.contains(each.first); });
  if (!std::includes(unfound_.begin(), unfound_.end(), unfound.begin(), unfound.end())) {
    backoff_.reset();
    due_ = std::min(due_, std::max(now(), asked_at_ + kAtMostEvery));
  }
  unfound_ = unfound;
  if (unfound_.empty()) error_.clear();
  client_->set_alarm(unfound_.empty() || asking_ ? ApiTime::max() : due_);
}

const PodRecord* RuntimeRecords::find(const std::string& uid) const {
  const auto found = known_.find(uid);
  return found == known_.end() ? nullptr : &found->second;
}

std::optional<Problem> RuntimeRecords::trouble() const {
  if (error_.empty()) return std::nullopt;
  return problem_at(Severity::Warning, socket_ == kAnyCriSocket ? "the container runtime" : socket_,
                    "guests of which no record tells cannot be asked for: " + error_,
                    "a socket that speaks the CRI (runtime.v1)");
}

// It may come, go and be another one while the agent runs. "": there is none, so nobody is to be asked.
std::string RuntimeRecords::path() const {
  if (socket_ != kAnyCriSocket) return socket_;
  std::error_code failed;
  for (const char* each : kUsual)
    if (std::filesystem::is_socket(each, failed)) return each;
  return "";
}

void RuntimeRecords::ask() {
  asked_at_ = now();
  asked_ = path();
  first_error_.clear();
  if (asked_.empty()) return finish("");
  asking_ = true;
  call(kListSandboxes, list_sandboxes_request(), [this](Result<std::string> message) {
    if (!message) return finish(message.error().message);
    auto sandboxes = read_sandboxes(message.value());
    if (!sandboxes) return finish(sandboxes.error().message);
    left_ = std::move(sandboxes).value();
    std::erase_if(left_, [this](const auto& each) { return !unfound_.contains(each.first); });
    for (const std::string& uid : unfound_)
      if (!left_.contains(uid)) take(uid, std::nullopt);
    ask_next();
  });
}

// One after the other: there are few, and each takes a millisecond. One that fails hides no other.
void RuntimeRecords::ask_next() {
  if (left_.empty()) return finish(first_error_);
  const auto next = left_.extract(left_.begin());
  call(kSandboxStatus, sandbox_status_request(next.mapped()), [this, uid = next.key()](Result<std::string> message) {
    auto record = message ? read_sandbox_status(message.value()) : Result<PodRecord>(message.error());
    if (record && record.value().pod_uid != uid) record = Error{"it tells of another pod than it was asked for"};
    if (record)
      take(uid, std::move(record).value());
    else if (first_error_.empty())
      first_error_ = record.error().message;
    ask_next();
  });
}

void RuntimeRecords::call(const char* method, const std::string& message, Answered answered) {
  ApiRequest request;
  request.method = "POST";
  request.path = method;
  request.socket = asked_;
  request.content_type = kGrpcContent;
  request.body = grpc_frame(message);
  auto answer = std::make_shared<GrpcAnswer>();
  HttpHandlers handlers;
  handlers.head = [](int) {};
  handlers.header = [answer](std::string_view line) { answer->header(line); };
  handlers.data = [answer](std::string_view bytes) { return answer->data(bytes); };
  handlers.end = [answer, answered = std::move(answered)](const ApiEnd& end) {
    answered(end.broken ? Error{end.broken->message} : answer->message(end.status));
  };
  client_->start(request, std::move(handlers));
}

void RuntimeRecords::take(const std::string& uid, std::optional<PodRecord> record) {
  const auto known = known_.find(uid);
  if (record ? known != known_.end() && known->second == *record : known == known_.end()) return;
  changed_ = true;
  if (record)
    known_.insert_or_assign(uid, std::move(*record));
  else
    known_.erase(known);
}

void RuntimeRecords::finish(const std::string& error) {
  asking_ = false;
  changed_ = changed_ || error != error_;
  error_ = error;
  due_ = now() + backoff_.next();
  client_->set_alarm(unfound_.empty() ? ApiTime::max() : due_);
}

}  // namespace grantd
