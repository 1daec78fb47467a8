#include "link.h"

#include <algorithm>

namespace henge {

uint32_t Link::takeId() {
  if (++lastId_ == 0) lastId_ = 1;
  return lastId_;
}

void Link::began(const UnderWay& request) {
  queue_.push_back(request);
  unansweredBytes_ += request.bytes;
}

void Link::beganOwn(uint32_t id, uint32_t bytes) {
  own_.push_back({id, bytes});
  unansweredBytes_ += bytes;
}

bool Link::endOwn(uint32_t id) {
  const auto found = std::find_if(own_.begin(), own_.end(), [id](const Own& own) { return own.id == id; });
  if (found == own_.end()) return false;
  unansweredBytes_ -= found->bytes;
  own_.erase(found);
  return true;
}

std::optional<UnderWay> Link::end(uint32_t id) {
  // Ids wrap around; what is under way spans far less than half of them.
  if (queue_.empty() || static_cast<int32_t>(queue_.front().id - id) > 0) return std::nullopt;
  const UnderWay oldest = queue_.front();
  queue_.pop_front();
  unansweredBytes_ -= oldest.bytes;
  return oldest;
}

std::vector<uint32_t> Link::ownIds() const {
  std::vector<uint32_t> ids;
  for (const Own& own : own_) ids.push_back(own.id);
  return ids;
}

void Link::weigh() {
  isFull_ = unansweredBytes_ >= (isFull_ ? UNANSWERED_BYTES_MAX / 2 : UNANSWERED_BYTES_MAX);
}

}  // namespace henge
