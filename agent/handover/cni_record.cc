#include "agent/handover/cni_record.h"

#include "crd-sync/api/json.h"
#include "crd-sync/file_text.h"
#include "crd-sync/names.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>

namespace grantd {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::size_t kMaxFiles = 32'768, kMaxBytes = 64 << 10, kMaxAddresses = 64, kMaxContainerId = 200;
constexpr std::string_view kSuffix = ".json";
constexpr std::string_view kUnfinished = ".new";  // behind the name that replace_file() is about to give it

std::string file_name(const std::string& container_id, const std::string& ifname) {
  return container_id + ":" + ifname + std::string(kSuffix);
}

Result<void> check_name(const std::string& container_id, const std::string& ifname) {
  if (!is_container_id(container_id))
    return Error{"container id '" + container_id +
                 "': accepted: a letter or digit, then letters, digits, '_', '.' and '-', at most 200"};
  if (!is_interface_name(ifname))
    return Error{"interface '" + ifname + "': accepted: 1 to 15 bytes without '/', ':' and blanks, not '.' or '..'"};
  return {};
}

json to_json(const CniRecord& record) {
  json addresses = json::array();
  for (const IpAddress& address : record.addresses) addresses.push_back(address.text());
  json root = {{"version", kVersion},
               {"containerID", record.container_id},
               {"ifname", record.ifname},
               {"network", record.network},
               {"netns", record.netns},
               {"pod", {{"namespace", record.pod_namespace}, {"name", record.pod_name}, {"uid", record.pod_uid}}},
               {"host", {{"interface", record.host_interface}, {"ifindex", record.ifindex}}},
               {"addresses", std::move(addresses)}};
  if (record.guest_mac) root["mac"] = record.guest_mac->text();
  return root;
}

// Reads what to_json() wrote; the first thing that is wrong counts.
class Reader {
 public:
  Result<CniRecord> read(const json& root) {
    if (!root.is_object()) return Error{"it is no object"};
    if (const json* version = json_member(root, "version"); version == nullptr || *version != kVersion)
      return Error{"its version is not " + std::to_string(kVersion)};
    CniRecord record;
    record.container_id = text(root, "containerID");
    record.ifname = text(root, "ifname");
    record.network = text(root, "network");
    record.netns = text(root, "netns");
    const json& pod = object(root, "pod");
    record.pod_namespace = text(pod, "namespace");
    record.pod_name = text(pod, "name");
    record.pod_uid = text(pod, "uid");
    const json& host = object(root, "host");
    record.host_interface = text(host, "interface");
    record.ifindex = index(host);
    record.addresses = addresses(root);
    if (root.contains("mac")) {
      const auto mac = MacAddress::parse(text(root, "mac"));
      if (mac)
        record.guest_mac = mac.value();
      else
        fail("mac: " + mac.error().message);
    }
    if (auto named = check_name(record.container_id, record.ifname); !named) fail(named.error().message);
    if (!is_interface_name(record.host_interface)) fail("'host.interface' is no interface's name");
    if (!wrong_.empty()) return Error{wrong_};
    return record;
  }

 private:
  void fail(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  const json& object(const json& parent, const char* name) {
    static const json empty = json::object();
    const json* found = json_member(parent, name);
    if (found != nullptr && found->is_object()) return *found;
    fail(std::string("'") + name + "' is no object");
    return empty;
  }

  std::string text(const json& parent, const char* name) {
    const json* found = json_member(parent, name);
    if (found != nullptr && found->is_string()) return found->get<std::string>();
    fail(std::string("'") + name + "' is no text");
    return "";
  }

  std::uint32_t index(const json& host) {
    const json* found = json_member(host, "ifindex");
    const bool fits = found != nullptr && found->is_number_unsigned() && found->get<std::uint64_t>() > 0 &&
                      found->get<std::uint64_t>() <= INT32_MAX;
    if (!fits) fail("'ifindex' is no index of an interface");
    return fits ? found->get<std::uint32_t>() : 0;
  }

  std::vector<IpAddress> addresses(const json& root) {
    std::vector<IpAddress> all;
    const json* list = json_member(root, "addresses");
    if (list == nullptr || !list->is_array() || list->size() > kMaxAddresses) {
      fail("'addresses' is no list of at most " + std::to_string(kMaxAddresses));
      return all;
    }
    for (const json& each : *list) {
      const auto address = IpAddress::parse(each.is_string() ? each.get<std::string>() : std::string());
      if (!address) {
        fail("addresses: " + address.error().message);
        return all;
      }
      all.push_back(address.value());
    }
    return all;
  }

  std::string wrong_;
};

Result<CniRecord> read_record(const std::string& path, const std::string& name) {
  auto content = read_whole_file(path, kMaxBytes);
  if (!content) return content.error();
  const auto root = parse_json(content.value(), {.values = 1'000, .depth = 8});
  if (!root) return Error{path + ": is damaged: it is no JSON"};
  auto record = Reader().read(*root);
  if (!record) return Error{path + ": is damaged: " + record.error().message};
  if (file_name(record.value().container_id, record.value().ifname) != name)
    return Error{path + ": is damaged: it is the record of another attachment"};
  return record;
}

}  // namespace

bool is_container_id(const std::string& text) {
  const auto alphanumeric = [](char letter) { return std::isalnum(static_cast<unsigned char>(letter)) != 0; };
  return !text.empty() && text.size() <= kMaxContainerId && alphanumeric(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char letter) {
           return alphanumeric(letter) || letter == '_' || letter == '.' || letter == '-';
         });
}

Result<CniRecords> read_cni_records(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::string name = entry->path().filename().string();
    if (!name.ends_with(kSuffix)) continue;  // one that is being written
    if (names.size() == kMaxFiles)
      return Error{directory + ": holds more than " + std::to_string(kMaxFiles) + " records", EFBIG};
    names.push_back(std::move(name));
  }
  if (failed && failed.value() != ENOENT) return system_error("list " + directory, failed.value());
  std::sort(names.begin(), names.end());
  CniRecords all;
  for (const std::string& name : names) {
    auto record = read_record(directory + "/" + name, name);
    if (record)
      all.records.push_back(std::move(record).value());
    else if (record.error().error_number != ENOENT)  // removed since it was listed
      all.damaged.push_back(record.error());
  }
  return all;
}

Result<std::optional<CniRecord>> read_cni_record(const std::string& directory, const std::string& container_id,
                                                 const std::string& ifname) {
  if (auto named = check_name(container_id, ifname); !named) return named.error();
  const std::string name = file_name(container_id, ifname);
  auto record = read_record(directory + "/" + name, name);
  if (record) return std::optional<CniRecord>(std::move(record).value());
  if (record.error().error_number == ENOENT) return std::optional<CniRecord>();
  return record.error();
}

Result<void> write_cni_record(const std::string& directory, const CniRecord& record) {
  if (auto named = check_name(record.container_id, record.ifname); !named) return named;
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) return system_error("make " + directory, failed.value());
  if (chmod(directory.c_str(), 0700) != 0) return system_error("close " + directory + " to others", errno);
  return replace_file(directory + "/" + file_name(record.container_id, record.ifname),
                      to_json(record).dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

Result<void> remove_cni_record(const std::string& directory, const std::string& container_id,
                               const std::string& ifname) {
  if (auto named = check_name(container_id, ifname); !named) return named;
  const std::string path = directory + "/" + file_name(container_id, ifname);
  for (const std::string& each : {path, path + std::string(kUnfinished)})
    if (unlink(each.c_str()) != 0 && errno != ENOENT) return system_error("remove " + each, errno);
  return {};
}

Result<void> remove_cni_records(const std::string& directory) {
  std::error_code failed;
  std::vector<std::filesystem::path> paths;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(kSuffix) || name.ends_with(std::string(kSuffix) + std::string(kUnfinished)))
      paths.push_back(entry->path());
  }
  if (failed && failed.value() != ENOENT) return system_error("list " + directory, failed.value());
  for (const auto& path : paths)
    if (!std::filesystem::remove(path, failed) && failed)
      return system_error("remove " + path.string(), failed.value());
  std::filesystem::remove(directory, failed);  // not where something else is in it
  return {};
}

}  // namespace grantd
