#include "table.h"

#include <algorithm>
#include <cmath>

namespace henge {

namespace {

// The order in which a walk clockwise meets the members, for starting points that only ever move backwards.
class Walk {
 public:
  explicit Walk(const RingOrder& ring) : circle_(ring.circle), order_(ring.members), nextPoint_(circle_.owners.size()) {
    for (size_t i = 0; i < order_.size(); i++) order_[i] = static_cast<uint16_t>(i);
    // One full turn first: the last slots' walks go on past the end of the circle.
    for (size_t point = nextPoint_; point > 0; point--) moveToFront(point - 1);
  }

  // Members by first appearance at `position` or after it, until the next call.
  const std::vector<uint16_t>& from(uint64_t position) {
    while (nextPoint_ > 0 && circle_.positions[nextPoint_ - 1] >= position) moveToFront(--nextPoint_);
    return order_;
  }

 private:
  void moveToFront(size_t point) {
    const auto at = std::find(order_.begin(), order_.end(), circle_.owners[point]);
    std::rotate(order_.begin(), at, at + 1);
  }

  const Circle& circle_;
  std::vector<uint16_t> order_;
  size_t nextPoint_;
};

// Chooses the members of one row after another, and counts what each has at each rank.
class RowChooser {
 public:
  RowChooser(const RingOrder& ring, uint32_t ranks)
      : ring_(ring),
        copies_(static_cast<uint32_t>(std::min<size_t>(ranks, ring.members))),
        memberRows_(ring.members, 0),
        zoneRows_(ring.members, 0),
        loads_(copies_, std::vector<uint32_t>(ring.members, 0)) {
    for (size_t i = 0; i < ring.members; i++) zoneCount_ = std::max<uint32_t>(zoneCount_, ring.zones[i] + 1U);
  }

  void fill(uint16_t* row, const std::vector<uint16_t>& order) {
    row_++;
    for (uint32_t rank = 0; rank < copies_; rank++) {
      const uint16_t member = choose(order, rank);
      row[rank] = member;
      loads_[rank][member]++;
      memberRows_[member] = row_;
      zoneRows_[ring_.zones[member]] = row_;
    }
  }

 private:
  uint16_t choose(const std::vector<uint16_t>& order, uint32_t rank) const {
    // As long as each choice so far took a new zone, there is one left exactly when there are more zones than choices.
    const bool wantsNewZone = rank < zoneCount_;
    uint16_t best = NO_NODE;
    double bestSteps = INFINITY;
    for (const uint16_t member : order) {
      if (memberRows_[member] == row_) continue;
      if (wantsNewZone && zoneRows_[ring_.zones[member]] == row_) continue;
      const double steps = stepsOverBound(member, loads_[rank][member]);
      if (steps == 0) return member;
      if (steps >= bestSteps) continue;
      best = member;
      bestSteps = steps;
    }
    return best;
  }

  // How often the bound would have to yield for this member to take one more slot.
  double stepsOverBound(uint16_t member, uint32_t load) const {
    const double excess = static_cast<double>(load) + 1 - ring_.bounds[member];
    return excess <= 0 ? 0 : std::ceil(excess / ring_.yieldSteps[member]);
  }

  const RingOrder& ring_;
  uint32_t copies_;
  uint32_t zoneCount_ = 0;
  // The row in which each member, and each zone, was chosen last, counted from 1.
  std::vector<uint32_t> memberRows_;
  std::vector<uint32_t> zoneRows_;
  uint32_t row_ = 0;
  // Slots held so far: loads_[rank][member].
  std::vector<std::vector<uint32_t>> loads_;
};

}  // namespace

std::vector<uint16_t> slotTable(const RingOrder& ring, uint32_t ranks, uint32_t slots) {
  std::vector<uint16_t> rows(static_cast<size_t>(slots) * ranks, NO_NODE);
  RowChooser chooser(ring, ranks);
  Walk walk(ring);
  const uint64_t arc = (uint64_t{1} << 32) / slots;
  for (uint32_t slot = slots; slot-- > 0;) {
    chooser.fill(&rows[static_cast<size_t>(slot) * ranks], walk.from(slot * arc));
  }
  return rows;
}

}  // namespace henge
