#include "pending.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace henge {

uint64_t PendingTable::open(Pending pending) {
  assert(!isFull());
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(places_.size()));
    places_.emplace_back();
  }
  const uint32_t place = free_.back();
  free_.pop_back();
  pending.ticket = ++opened_ << PLACE_BITS | place;
  soonestMs_ = std::min(soonestMs_, pending.deadlineMs);
  bytes_ += bytesOf(pending);
  count_++;
  places_[place] = std::move(pending);
  return places_[place].ticket;
}

Pending* PendingTable::find(uint64_t ticket) {
  const size_t place = ticket & (REQUESTS_MAX - 1);
  if (ticket == 0 || place >= places_.size() || places_[place].ticket != ticket) return nullptr;
  return &places_[place];
}

void PendingTable::close(uint64_t ticket) {
  Pending* pending = find(ticket);
  if (pending == nullptr) return;
  bytes_ -= bytesOf(*pending);
  count_--;
  *pending = Pending();
  free_.push_back(static_cast<uint32_t>(ticket & (REQUESTS_MAX - 1)));
  if (count_ == 0) soonestMs_ = UINT64_MAX;
}

std::vector<uint64_t> PendingTable::expired(uint64_t nowMs) {
  std::vector<uint64_t> late;
  soonestMs_ = UINT64_MAX;
  for (const Pending& pending : places_) {
    if (pending.ticket == 0) continue;
    if (pending.deadlineMs <= nowMs) {
      late.push_back(pending.ticket);
    } else {
      soonestMs_ = std::min(soonestMs_, pending.deadlineMs);
    }
  }
  return late;
}

std::vector<uint64_t> PendingTable::tickets() const {
  std::vector<uint64_t> all;
  for (const Pending& pending : places_) {
    if (pending.ticket != 0) all.push_back(pending.ticket);
  }
  return all;
}

}  // namespace henge
