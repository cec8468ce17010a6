// The order in which a product goes through its weights: panels in groups, a
// group's k stretch by stretch, a stretch panel by panel. So the inputs of a
// stretch and the sums of a group stay in the second cache meanwhile.
#ifndef LAPIDARY_KERNELS_GEMM_PANEL_WALK_H_
#define LAPIDARY_KERNELS_GEMM_PANEL_WALK_H_

#include <algorithm>
#include <cstdint>

namespace lapidary::kernels {

// Steps of k [first, first + count) of a panel.
struct PanelStretch {
  int64_t panel = 0;
  int64_t first = 0, count = 0;
  bool ends_panel = false;
};

class PanelWalk {
 public:
  static constexpr int64_t kGroupPanels = 4;

  // Stretches are of `most` steps or a few less; one, where there are none.
  PanelWalk(int64_t panels, int64_t steps, int64_t most)
      : panels_(panels),
        steps_(steps),
        stretches_(std::max<int64_t>(1, (steps + most - 1) / most)),
        size_((steps + stretches_ - 1) / stretches_) {}

  int64_t stretches() const { return stretches_; }
  int64_t size() const { return size_; }  // of all stretches but the last

  bool Contains(const PanelStretch& at) const { return at.panel < panels_; }

  // Calls body(now, next) for each stretch; behind the last comes one that the
  // walk does not contain.
  template <class Body>
  void ForEach(const Body& body) const {
    for (PanelStretch now = At(0, 0); Contains(now);) {
      const PanelStretch next = After(now);
      body(now, next);
      now = next;
    }
  }

 private:
  PanelStretch After(const PanelStretch& now) const {
    const int64_t group = now.panel / kGroupPanels * kGroupPanels;
    const int64_t end = std::min(panels_, group + kGroupPanels);
    if (now.panel + 1 < end) return At(now.panel + 1, now.first);
    if (!now.ends_panel) return At(group, now.first + size_);
    return At(end, 0);
  }

  PanelStretch At(int64_t panel, int64_t first) const {
    const int64_t count = std::min(size_, steps_ - first);
    return {panel, first, count, first + count == steps_};
  }

  int64_t panels_, steps_, stretches_, size_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_PANEL_WALK_H_
