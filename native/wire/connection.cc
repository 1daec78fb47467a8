#include "connection.h"

#include <cassert>

#include "bytes.h"

namespace henge {

namespace {

constexpr uint32_t PLACE_BITS = 16;
constexpr uint32_t GENERATION_MASK = 0x7fff;  // with the place 31 bits: a number is never negative

}  // namespace

void Backlog::append(std::string_view bytes) {
  if (begin_ > 0) {
    bytes_.erase(0, begin_);
    begin_ = 0;
  }
  bytes_.append(bytes);
}

void Backlog::consume(size_t count) {
  begin_ += count;
  if (isEmpty()) clear();
}

void Backlog::clear() {
  begin_ = 0;
  if (bytes_.capacity() > KEPT_BYTES_MAX) {
    std::string().swap(bytes_);
  } else {
    bytes_.clear();
  }
}

size_t Outbox::take(Output output) {
  const std::string_view waiting = std::string_view(bytes_).substr(begin_);
  size_t taken = waiting.size() <= output.bytes ? waiting.size() : 0;
  if (taken == 0) {
    for (size_t end = 0; end <= output.bytes; end += sizeof(uint32_t) + load<uint32_t>(waiting.data() + end))
      taken = end;
  }
  assert(taken > 0 && "the output holds the largest frame");
  memcpy(output.at, waiting.data(), taken);
  begin_ += taken;
  if (!isEmpty()) {
    if (begin_ < bytes_.size() / 2) return taken;
    bytes_.erase(0, begin_);
    begin_ = 0;
    return taken;
  }
  begin_ = 0;
  if (bytes_.capacity() > KEPT_BYTES_MAX) {
    std::string().swap(bytes_);
  } else {
    bytes_.clear();
  }
  return taken;
}

int32_t ConnectionTable::add() {
  if (free_.empty()) {
    if (places_.size() == CONNECTIONS_MAX) return -1;
    free_.push_back(static_cast<uint16_t>(places_.size()));
    places_.emplace_back();
  }
  const uint16_t place = free_.back();
  free_.pop_back();
  places_[place].state = Connection::State::GREETING;
  return static_cast<int32_t>(uint32_t{places_[place].generation} << PLACE_BITS | place);
}

void ConnectionTable::remove(int32_t number) {
  Connection* connection = find(number);
  if (connection == nullptr) return;
  const auto generation = static_cast<uint16_t>((connection->generation + 1) & GENERATION_MASK);
  *connection = Connection();
  connection->generation = generation;
  free_.push_back(static_cast<uint16_t>(number));
}

Connection* ConnectionTable::find(int32_t number) {
  const auto word = static_cast<uint32_t>(number);
  const size_t place = word & ((1U << PLACE_BITS) - 1);
  if (place >= places_.size()) return nullptr;
  Connection& connection = places_[place];
  const bool isThat = connection.state != Connection::State::FREE && connection.generation == word >> PLACE_BITS;
  return isThat ? &connection : nullptr;
}

std::string* Owed::outboxOf(int32_t number) {
  Connection* connection = connections_.find(number);
  if (connection == nullptr) return nullptr;
  if (!connection->isOwed) numbers_.push_back(number);
  connection->isOwed = true;
  return connection->outbox.bytes();
}

int32_t Owed::take(Output output, size_t* bytes) {
  *bytes = 0;
  while (!numbers_.empty()) {
    const int32_t number = numbers_.front();
    numbers_.pop_front();
    Connection* connection = connections_.find(number);
    if (connection == nullptr) continue;
    *bytes = connection->outbox.take(output);
    connection->isOwed = !connection->outbox.isEmpty();
    if (connection->isOwed) numbers_.push_back(number);
    if (*bytes > 0) return number;
  }
  return -1;
}

}  // namespace henge
