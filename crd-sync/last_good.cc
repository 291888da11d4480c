#include "crd-sync/last_good.h"

#include "crd-sync/canonical.h"
#include "crd-sync/file_text.h"

#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <optional>

namespace grantd {
namespace {

constexpr std::string_view kHeader = "grantd-last-good 1 ";
constexpr std::size_t kMaxBytes = 256U << 20;

const Error kDamaged{"is damaged or of another version"};

// Takes words and lines off the front of the text.
struct Taker {
  std::string_view rest;

  std::optional<std::string_view> until(char end) {
    const std::size_t at = rest.find(end);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view part = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    return part;
  }

  std::optional<int> number() {
    const auto word = until(' ');
    int value = 0;
    if (!word) return std::nullopt;
    const auto [end, error] = std::from_chars(word->data(), word->data() + word->size(), value);
    if (error != std::errc() || end != word->data() + word->size() || value < 0) return std::nullopt;
    return value;
  }
};

std::optional<std::pair<ObjectId, KeptObject>> take_object(Taker& take) {
  const auto kind = take.until(' ');
  const auto key = take.until(' ');
  const auto line = take.number(), document = take.number(), bytes = take.number();
  const auto file = take.until('\n');
  if (!kind || !key || !line || !document || !bytes || !file) return std::nullopt;
  const auto size = static_cast<std::size_t>(*bytes);
  if (take.rest.size() <= size || take.rest[size] != '\n') return std::nullopt;
  const auto known = resource_kind(*kind);
  if (!known) return std::nullopt;
  KeptObject kept{{std::string(*file), *document, *line}, std::string(take.rest.substr(0, size)), {}};
  take.rest.remove_prefix(size + 1);
  return std::pair{ObjectId{*known, std::string(*key)}, std::move(kept)};
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

ReadResult read_text(const KeptObject& kept) {
  return read_manifests({kept.position.file.text(), kept.text.text(), kept.position.document, kept.position.line});
}

}  // namespace

Result<ManifestObject> read_kept(const ObjectId& id, const KeptObject& kept) {
  ReadResult read = read_text(kept);
  if (read.objects.size() == 1 && read.objects[0].id == id) return std::move(read.objects[0]);
  return Error{id.text() + ": the version kept of it cannot be read" +
               (read.problems.empty() ? "" : ": " + read.problems[0].text())};
}

std::vector<RefusedPrefix> kept_prefixes(const KeptObject& kept) {
  std::vector<RefusedPrefix> all;
  add_named(read_text(kept), all);
  return all;
}

FixedFields fixed_fields(const ManifestObject& object) {
  FixedFields fields;
  if (const auto* realm = std::get_if<Realm>(&object.value)) fields = {{kIdentityField, realm->identity}};
  if (const auto* grant = std::get_if<Grant>(&object.value))
    fields = {{kGrantorField, grant->grantor_realm}, {kGranteeField, grant->grantee_realm}};
  if (!object.head.uid.empty()) fields[kUidField] = object.head.uid;
  return fields;
}

FixedFields fixed_fields(const ObjectId& id, const KeptObject& kept) {
  if (!kept.fixed.empty() || id.kind == ResourceKind::Workload) return kept.fixed;
  const auto object = read_kept(id, kept);
  return object ? fixed_fields(object.value()) : FixedFields{};
}

std::string last_good_text(const LastGood& objects) {
  std::string body;
  for (const auto& [id, kept] : objects)
    body += id.text() + " " + std::to_string(kept.position.line) + " " + std::to_string(kept.position.document) + " " +
            std::to_string(kept.text.text().size()) + " " + kept.position.file.text() + "\n" + kept.text.text() + "\n";
  return std::string(kHeader) + hash_digits(hash_text(body)) + "\n" + body;
}

Result<LastGood> parse_last_good(std::string_view text) {
  Taker take{text};
  const auto header = take.until('\n');
  if (!header || *header != std::string(kHeader) + hash_digits(hash_text(take.rest))) return kDamaged;
  LastGood objects;
  while (!take.rest.empty()) {
    auto object = take_object(take);
    if (!object) return kDamaged;
    objects.insert(std::move(*object));
  }
  return objects;
}

LastGoodFile::LastGoodFile(std::string state_directory)
    : directory_(std::move(state_directory)), path_(directory_ + "/last-good") {}

Result<LastGood> LastGoodFile::load() {
  const auto text = read_whole_file(path_, kMaxBytes);
  if (!text && text.error().error_number == ENOENT) return LastGood{};
  if (!text) return text.error();
  auto objects = parse_last_good(text.value());
  if (!objects) return Error{path_ + ": " + objects.error().message};
  written_ = first_line(text.value());
  return objects;
}

Result<void> LastGoodFile::save(const LastGood& objects) {
  const std::string text = last_good_text(objects);
  std::string header = first_line(text);
  if (header == written_) return {};
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) return system_error("mkdir " + directory_, errno);
  if (auto replaced = replace_file(path_, text); !replaced) return replaced;
  written_ = std::move(header);
  return {};
}

}  // namespace grantd
