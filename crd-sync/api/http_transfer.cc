#include "crd-sync/api/http_transfer.h"

#include "crd-sync/problem.h"

#include <utility>

namespace grantd {
namespace {

// A peer that is gone without a word is noticed after 10 + 9 × 3 s (Linux sends 9 probes).
constexpr long kProbeAfterSeconds = 10;
constexpr long kProbeEverySeconds = 3;
// Of all headers of an answer, with those of 1xx before it and the trailers behind it.
constexpr std::size_t kMostHeaderBytes = 64U << 10;

ApiErrorReason reason_of(CURLcode code, int status) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return ApiErrorReason::TimedOut;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
      return status != 0 ? ApiErrorReason::Cut : ApiErrorReason::Connection;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
      return ApiErrorReason::Garbage;
    default:
      return ApiErrorReason::Connection;
  }
}

}  // namespace

HttpTransfer::HttpTransfer(const ApiServer& server, const std::string& token, const HttpLimits& limits,
                           const ApiRequest& request, HttpHandlers handlers)
    : body_(request.body), easy_(curl_easy_init()), handlers_(std::move(handlers)), idle_(limits.idle) {
  if (!easy_) {
    valid_ = false;
    return;
  }
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_text_.data());
  set(CURLOPT_NOSIGNAL, 1L);
  // One connection a stream: what holds one watch up holds up no other.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  if (!request.socket.empty()) set_socket(request.socket);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_FOLLOWLOCATION, 0L);  // a token is for one server
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect.count()));
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kProbeAfterSeconds);
  set(CURLOPT_TCP_KEEPINTVL, kProbeEverySeconds);
  set(CURLOPT_HEADERFUNCTION, &HttpTransfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &HttpTransfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  if (request.stream)
    touch();
  else
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(limits.whole.count()));
  set(CURLOPT_URL, (server.url + request.path).c_str());
  if (!token.empty()) add_header("Authorization: Bearer " + token);
  set_identity(server);
  set_request(request);
  set(CURLOPT_HTTPHEADER, headers_.get());
}

void HttpTransfer::set_socket(const std::string& path) {
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
  set(CURLOPT_UNIX_SOCKET_PATH, path.c_str());
  // libcurl 7.88 begins HTTP/2 anew on a connection that speaks it already.
  set(CURLOPT_FORBID_REUSE, 1L);
}

void HttpTransfer::set_pem(CURLoption file, CURLoption blob, const PemSource& source) {
  if (!source.file.empty()) set(file, source.file.c_str());
  if (source.data.empty()) return;
  // Copied at once and never written to.
  curl_blob copied{const_cast<char*>(source.data.data()), source.data.size(), CURL_BLOB_COPY};
  set(blob, &copied);
}

void HttpTransfer::set_identity(const ApiServer& server) {
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_CA_CACHE_TIMEOUT, 0L);
  if (!server.authority.empty()) {
    set(CURLOPT_CAINFO, static_cast<char*>(nullptr));  // that one, and not the system's beside it
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
    set_pem(CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB, server.authority);
  }
  set_pem(CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB, server.certificate);
  set_pem(CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB, server.key);
}

void HttpTransfer::set_request(const ApiRequest& request) {
  if (request.socket.empty())
    add_header("Accept: application/json");
  else
    add_header("TE: trailers");  // how a call has ended comes behind the answer
  add_header("User-Agent: grantd/" GRANTD_VERSION);
  if (request.method == "GET") return;
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (body_.empty()) return;
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_.size()));
  set(CURLOPT_POSTFIELDS, body_.data());
  add_header("Content-Type: " + request.content_type);
  add_header("Expect:");  // no 100-continue
}

void HttpTransfer::add_header(const std::string& line) {
  curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
  if (longer == nullptr) {
    valid_ = false;
    return;
  }
  (void)headers_.release();
  headers_.reset(longer);
}

void HttpTransfer::touch() { idle_due_ = std::chrono::steady_clock::now() + idle_; }

int HttpTransfer::status() const {
  long status = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

std::size_t HttpTransfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  const std::string_view line(data, size * count);
  transfer.header_bytes_ += line.size();
  if (transfer.header_bytes_ > kMostHeaderBytes) return 0;
  if (transfer.handlers_.header && !transfer.cancelled_) transfer.handlers_.header(line);
  // The empty line ends them; those of 1xx are not the answer.
  if ((line == "\r\n" || line == "\n") && !transfer.cancelled_)
    if (const int status = transfer.status(); status >= 200) transfer.handlers_.head(status);
  return size * count;
}

std::size_t HttpTransfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  if (transfer.cancelled_ || transfer.stopped_) return 0;
  if (transfer.idle_due_ != ApiTime::max()) transfer.touch();
  transfer.stopped_ = !transfer.handlers_.data({data, size * count});
  return transfer.stopped_ ? 0 : size * count;
}

void HttpTransfer::end(CURLcode code) {
  if (cancelled_) return;
  ApiEnd end;
  end.status = status();
  if (header_bytes_ > kMostHeaderBytes) {
    end.broken =
        ApiError{ApiErrorReason::TooLarge, "headers of more than " + std::to_string(kMostHeaderBytes) + " bytes"};
  } else if (code != CURLE_OK) {
    const char* text = error_text_[0] != 0 ? error_text_.data() : curl_easy_strerror(code);
    end.broken = stopped_ ? ApiError{ApiErrorReason::Cut, "cut off"}
                          : ApiError{reason_of(code, end.status), escape_text(text, CURL_ERROR_SIZE)};
  }
  curl_off_t seconds = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0) end.retry_after = std::chrono::seconds(std::min<curl_off_t>(seconds, 86400));
  handlers_.end(end);
}

void HttpTransfer::end(ApiError error) {
  if (cancelled_) return;
  ApiEnd end;
  end.status = easy_ ? status() : 0;
  end.broken = std::move(error);
  handlers_.end(end);
}

}  // namespace grantd
