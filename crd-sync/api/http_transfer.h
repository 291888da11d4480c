// One request in libcurl's terms. For http_client.cc alone.
#pragma once

#include "crd-sync/api/http_client.h"

#include <curl/curl.h>

#include <array>
#include <memory>
#include <string>

namespace grantd {

class HttpTransfer {
 public:
  HttpTransfer(const ApiServer& server, const std::string& token, const HttpLimits& limits, const ApiRequest& request,
               HttpHandlers handlers);

  CURL* handle() const { return easy_.get(); }
  bool valid() const { return valid_; }
  bool cancelled() const { return cancelled_; }
  void cancel() { cancelled_ = true; }
  ApiTime idle_due() const { return idle_due_; }

  void end(CURLcode code);   // as libcurl ended it
  void end(ApiError error);  // as we did

 private:
  struct EasyDeleter {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);

  template <typename Value>
  void set(CURLoption option, Value value) {
    // In parentheses: the macro of that name wants options that it can see.
    if ((curl_easy_setopt)(easy_.get(), option, value) != CURLE_OK) valid_ = false;
  }
  void set_socket(const std::string& path);
  void set_pem(CURLoption file, CURLoption blob, const PemSource& source);
  void set_identity(const ApiServer& server);
  void set_request(const ApiRequest& request);
  void add_header(const std::string& line);
  void touch();
  int status() const;

  // libcurl reads these while it works, so they outlive the handle.
  std::array<char, CURL_ERROR_SIZE> error_text_{};
  std::string body_;
  std::unique_ptr<curl_slist, ListDeleter> headers_;
  std::unique_ptr<CURL, EasyDeleter> easy_;

  const HttpHandlers handlers_;
  const std::chrono::milliseconds idle_;
  ApiTime idle_due_ = ApiTime::max();
  bool valid_ = true;
  bool stopped_ = false;  // a handler wanted no more
  bool cancelled_ = false;
  std::size_t header_bytes_ = 0;
};

}  // namespace grantd
