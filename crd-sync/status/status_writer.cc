#include "crd-sync/status/status_writer.h"

#include "crd-sync/api/json.h"

#include <algorithm>
#include <utility>

namespace grantd {
namespace {

constexpr const char* kPath = "/apis/keystone.io/v1alpha1/grantnodestatuses/";
constexpr JsonLimits kFoundLimits{200'000, 16}, kWhoLimits{1'000, 16};
// The server's own account of who asks. Everybody may ask.
constexpr const char* kWhoPath = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
constexpr const char* kWho = R"({"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"})";

// The uid of the node that a pod's token is bound to; "" where it is bound to none, or to another one.
std::string bound_uid(const nlohmann::json& review, const std::string& node) {
  const nlohmann::json* extra = &review;
  for (const char* name : {"status", "userInfo", "extra"})
    if (extra != nullptr) extra = json_member(*extra, name);
  const auto value = [extra](const char* name) -> std::string {
    const nlohmann::json* list = extra != nullptr ? json_member(*extra, name) : nullptr;
    if (list == nullptr || !list->is_array() || list->size() != 1 || !list->front().is_string()) return "";
    return list->front().get<std::string>();
  };
  return value("authentication.kubernetes.io/node-name") == node ? value("authentication.kubernetes.io/node-uid") : "";
}

}  // namespace

StatusWriter::StatusWriter(const std::string& node, SendRequest send, ApiClock clock, std::uint64_t seed)
    : node_(node), send_(std::move(send)), clock_(std::move(clock)), backoff_(seed) {}

void StatusWriter::want(std::string text, bool broke) {
  wanted_ = std::move(text);
  broke_ = broke_ || broke;
  drive();
}

ApiTime StatusWriter::write_due() const {
  if (!written_at_) return {};
  return *written_at_ + (broke_ ? kQuietBroken : kQuiet);
}

ApiTime StatusWriter::due() const {
  if (sending_) return ApiTime::max();
  const bool to_write = ready_ && !wanted_.empty() && wanted_ != written_;
  return std::max(wait_until_, to_write ? std::min(look_at_, write_due()) : look_at_);
}

void StatusWriter::drive() {
  const ApiTime now = clock_();
  if (sending_ || now < wait_until_) return;
  if (now >= look_at_) return send(Step::Look);
  if (!asked_) return send(Step::Who);
  if (wanted_.empty() || wanted_ == written_) {
    broke_ = false;
    return;
  }
  if (now >= write_due()) send(made_ ? Step::Write : Step::Make);
}

std::string StatusWriter::empty_object() const {
  nlohmann::json metadata = {{"name", node_}};
  if (!node_uid_.empty())
    metadata["ownerReferences"] =
        nlohmann::json::array({{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node_}, {"uid", node_uid_}}});
  return nlohmann::json{{"apiVersion", "keystone.io/v1alpha1"}, {"kind", "GrantNodeStatus"}, {"metadata", metadata}}
      .dump();
}

void StatusWriter::send(Step step) {
  ApiRequest request;
  request.path = kPath + percent_encoded(node_);
  if (step == Step::Who) {
    request.method = "POST";
    request.content_type = "application/json";
    request.path = kWhoPath;
    request.body = kWho;
  } else if (step != Step::Look) {
    request.method = "PATCH";
    request.content_type = "application/apply-patch+yaml";
    request.path +=
        std::string(step == Step::Write ? "/status" : "") + "?fieldManager=" + kFieldManager + "&force=true";
    request.body = empty_object();
  }
  if (step == Step::Write) {
    request.body = sent_ = wanted_;
    written_at_ = clock_();
    broke_ = false;
  }
  sending_ = true;
  send_(request, [this, step](const ApiAnswer& answer) { answered(step, answer); });
}

void StatusWriter::answered(Step step, const ApiAnswer& answer) {
  sending_ = false;
  const bool gone = answer.error && answer.error->reason == ApiErrorReason::NotFound;
  if (step == Step::Look) {
    looked(answer);
  } else if (step == Step::Who) {
    learned(answer);
  } else if (answer.error) {
    if (step == Step::Write && gone) forget_made();
    fail(answer);
  } else {
    backoff_.reset();
    counters_.last_error.clear();
    made_ = true;
    if (step == Step::Write) {
      ++counters_.done;
      written_ = std::move(sent_);
    }
  }
  drive();
}

void StatusWriter::looked(const ApiAnswer& answer) {
  const auto reason = answer.error ? std::optional(answer.error->reason) : std::nullopt;
  // Who may not look may still write.
  if (reason && reason != ApiErrorReason::NotFound && reason != ApiErrorReason::Forbidden) return fail(answer);
  if (reason) {
    forget_made();
    written_.clear();
  }
  if (!ready_ && !reason) found_ = parse_json(answer.body, kFoundLimits);
  ready_ = true;
  look_at_ = clock_() + kLookAgain;
}

// It may have gone with its Node, which is another one now: owned by the old one it would go again and again.
void StatusWriter::forget_made() {
  made_ = false;
  asked_ = false;
}

// A server that does not know the question, or does not answer it to us, is no reason not to write.
void StatusWriter::learned(const ApiAnswer& answer) {
  const auto reason = answer.error ? std::optional(answer.error->reason) : std::nullopt;
  if (reason && reason != ApiErrorReason::NotFound && reason != ApiErrorReason::Forbidden &&
      reason != ApiErrorReason::Refused)
    return fail(answer);
  asked_ = true;
  const auto review = reason ? std::nullopt : parse_json(answer.body, kWhoLimits);
  node_uid_ = review ? bound_uid(*review, node_) : "";
}

void StatusWriter::fail(const ApiAnswer& answer) {
  ++counters_.failed;
  counters_.last_error = answer.error->message;
  wait_until_ = clock_() + backoff_.next(answer.retry_after);
}

}  // namespace grantd
