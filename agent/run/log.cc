#include "agent/run/log.h"

#include "crd-sync/problem.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

namespace grantd {

namespace {

LogFormat& format() {
  static LogFormat chosen = LogFormat::Text;
  return chosen;
}

constexpr std::size_t kMaxBytes = 2048;

void write(spdlog::level::level_enum level, const std::string& message, const LogFields& fields) {
  if (!spdlog::should_log(level)) return;
  if (format() == LogFormat::Json) {
    nlohmann::json line = {{"level", spdlog::level::to_string_view(level).data()}, {"message", message}};
    for (const auto& [name, value] : fields) line[name] = value;
    // The time stands outside of what others wrote, and is put in front by the pattern.
    std::string text = line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    spdlog::default_logger_raw()->log(level, "{}", text.substr(1));
    return;
  }
  std::string text = escape_text(message, kMaxBytes);
  for (const auto& [name, value] : fields) text += "  " + name + "=" + escape_text(value, kMaxBytes);
  spdlog::default_logger_raw()->log(level, "{}", text);
}

}  // namespace

void open_log(LogFormat chosen, const std::string& level) {
  format() = chosen;
  auto logger = spdlog::stderr_logger_mt("grantd");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(level));
  spdlog::set_pattern(chosen == LogFormat::Json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",%v"
                                                : "%Y-%m-%d %H:%M:%S.%e %-7l %v");
  spdlog::flush_on(spdlog::level::trace);
}

void log_debug(const std::string& message, const LogFields& fields) { write(spdlog::level::debug, message, fields); }
void log_info(const std::string& message, const LogFields& fields) { write(spdlog::level::info, message, fields); }
void log_warning(const std::string& message, const LogFields& fields) { write(spdlog::level::warn, message, fields); }
void log_error(const std::string& message, const LogFields& fields) { write(spdlog::level::err, message, fields); }

void log_problem(const Problem& problem) {
  write(problem.shown() == Severity::Error ? spdlog::level::err : spdlog::level::warn, problem.text(), {});
}

}  // namespace grantd
