#include "agent/shape/htb.h"
#include "agent/shape/policer.h"
#include "agent/shape/shaper.h"

namespace grantd {

Result<ChosenShaper> choose_shaper(ShaperSetting setting, const std::string& pin_root) {
  if (setting == ShaperSetting::Policer)
    return ChosenShaper{std::make_unique<PolicerShaper>(pin_root), "--shaper policer"};
  auto htb = std::make_unique<HtbShaper>(pin_root);
  auto made = htb->make();
  if (made) {
    std::string why = setting == ShaperSetting::Htb ? "--shaper htb" : "the kernel has HTB";
    if (htb->fair_queues()) why += ", and SFQ for the flows of a guest";
    return ChosenShaper{std::move(htb), why};
  }
  if (setting == ShaperSetting::Htb) return made.error();
  (void)htb->remove().ok();  // what was made before it failed
  return ChosenShaper{std::make_unique<PolicerShaper>(pin_root), "no queues: " + made.error().message};
}

Result<void> remove_shaper(const std::string& pin_root) { return HtbShaper(pin_root).remove(); }

}  // namespace grantd
