// Keeps grantd-cni in the node's chain: its file where the runtime looks for plugins, and a configuration that sorts
// first. Both stay there over a boot.
#pragma once

#include "agent/cni/chain.h"
#include "crd-sync/directory_watch.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

struct ChainPlace {
  std::string conf_dir, bin_dir;  // the runtime's
  std::string plugin;             // our grantd-cni, to be copied
  PluginSettings settings;
};

class ChainKeeper {
 public:
  // Neither directory need be there yet.
  static Result<ChainKeeper> open(ChainPlace place);

  // For the event loop: whenever one of them is readable, call drain(). True: keep() is due.
  std::vector<int> fds() const;
  bool drain();

  // Looks, and puts right what is not as it should be: the plugin first, then the configuration that names it.
  // Returns what it has done, a line each.
  struct Done {
    std::vector<std::string> followed;  // installed, or made anew because the runtime's own file has changed
    std::vector<std::string> restored;  // somebody had removed or changed what was ours
  };
  Done keep();

  // Whether guests' interfaces are closed by the chain as of the last keep().
  bool in_place() const { return in_place_; }
  std::uint64_t restored() const { return restored_; }
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  // What a file was when it was last known to be right, so that it is not read each time.
  struct Identity {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified_ns = 0, changed_ns = 0;
    bool operator==(const Identity&) const = default;
  };

  ChainKeeper(ChainPlace place, DirectoryWatch configuration, DirectoryWatch programs)
      : place_(std::move(place)), configuration_(std::move(configuration)), programs_(std::move(programs)) {}
  static std::optional<Identity> identity_of(const std::string& path);
  Result<ConfFiles> read_configuration() const;
  bool keep_plugin(Done& done);
  bool keep_chain(Done& done);
  void report(const Error& error);

  ChainPlace place_;
  DirectoryWatch configuration_, programs_;
  std::optional<Identity> source_, copy_;
  std::string kept_, from_;  // what our configuration said when it was last right, and which file it followed
  bool in_place_ = false;
  std::uint64_t restored_ = 0;
  std::vector<Problem> problems_;
};

// Takes both out: the configuration first, so that the runtime goes on with its own. What is gone already is no error.
Result<void> remove_chain(const std::string& conf_dir, const std::string& bin_dir);

}  // namespace grantd
