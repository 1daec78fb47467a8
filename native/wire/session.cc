#include "session.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iterator>

namespace henge {

namespace {

using protocol::Opcode;
using protocol::Status;
using State = Connection::State;

constexpr uint64_t NANOSECONDS_PER_MS = 1'000'000;
constexpr uint64_t NANOSECONDS_PER_MICROSECOND = 1'000;

// Bucket 0 is for less than a microsecond, bucket n for less than 2^n; the last for all that is longer.
size_t bucketOf(uint64_t nanoseconds, size_t buckets) {
  const uint64_t microseconds = nanoseconds / NANOSECONDS_PER_MICROSECOND;
  const auto bits = static_cast<size_t>(microseconds == 0 ? 0 : 64 - __builtin_clzll(microseconds));
  return std::min(bits, buckets - 1);
}

}  // namespace

Session::Session(Worker& worker, uint32_t valueBytesMax, Clock clock)
    : worker_(worker),
      frameBytesMax_(frameBytesMax(valueBytesMax)),
      clock_(clock) {
  control_.reserve(CONTROL_FRAMES_MAX);
}

void Session::greet(int32_t number, uint8_t role) {
  Connection* connection = connections_.find(number);
  assert(connection != nullptr);
  if (connection->state != State::WAITING) return;
  connection->state = State::OPEN;
  connection->gate.isGreeted = true;
  connection->gate.isPeer = role == protocol::Role::PEER;
  connection->gate.frameBytesMax = frameBytesMax_;
}

void Session::disconnect(int32_t number) {
  Connection* connection = connections_.find(number);
  if (connection == nullptr) return;
  backlogBytes_ -= connection->backlog.size();
  const auto isItsOwn = [number](const ControlFrame& frame) { return frame.connection == number; };
  control_.erase(std::remove_if(control_.begin(), control_.end(), isItsOwn), control_.end());
  connections_.remove(number);
}

std::vector<ControlFrame> Session::takeControl() {
  std::vector<ControlFrame> taken;
  taken.reserve(CONTROL_FRAMES_MAX);
  taken.swap(control_);
  return taken;
}

Outcome Session::execute(int32_t number, std::string_view input, Output output) {
  assert(output.bytes >= outputBytesMin());
  connection_ = connections_.find(number);
  assert(connection_ != nullptr);
  const uint64_t beganNs = clock_();
  const size_t inputBytes = input.size();
  number_ = number;
  out_ = output.at;
  end_ = output.at + output.bytes - LAST_WORDS_BYTES;
  flags_ = 0;
  walks_ = 0;
  nowMs_ = beganNs / NANOSECONDS_PER_MS;
  if (connection_->state == State::GREETING) connection_->gate.frameBytesMax = helloFrameBytesMax();

  worker_.beginChunk();
  if (!connection_->backlog.isEmpty()) input = runBacklog(input);
  if (connection_->backlog.isEmpty() && mayGoOn()) input.remove_prefix(run(input));
  keep(input);

  if (connection_->state == State::BROKEN) flags_ |= OutputFlag::CLOSE;
  if (!control_.empty()) flags_ |= OutputFlag::CONTROL;
  const auto outputBytes = static_cast<size_t>(out_ - output.at);
  account(beganNs, inputBytes, outputBytes);
  return {outputBytes, flags_};
}

// Runs what waits, giving a frame that was cut the bytes it lacks and no more, so that the rest of the chunk is run
// where it lies. Returns what is left of the input.
std::string_view Session::runBacklog(std::string_view input) {
  Backlog& backlog = connection_->backlog;
  while (mayGoOn()) {
    const size_t used = run(backlog.view());
    backlog.consume(used);
    backlogBytes_ -= used;
    connection_->heldBytes -= std::min(used, connection_->heldBytes);
    if (!mayGoOn() || backlog.isEmpty() || input.empty()) break;
    const size_t taken = std::min(missingBytes(backlog.view()), input.size());
    backlog.append(input.substr(0, taken));
    backlogBytes_ += taken;
    input.remove_prefix(taken);
  }
  return input;
}

// Runs the complete frames at the beginning of `bytes` while the connection may go on; returns their length.
size_t Session::run(std::string_view bytes) {
  size_t used = 0;
  while (mayGoOn()) {
    Sentence sentence;
    size_t count = 0;
    bool isOther = false;
    for (size_t at = used; count < BATCH && !isOther; at = frameEnds_[count++]) {
      if (!parse(bytes.substr(at), connection_->gate, &requests_[count], &operations_[count], &sentence)) break;
      frameEnds_[count] = at + requests_[count].frameBytes;
      isOther = requests_[count].kind != Request::Kind::OPERATION;
    }
    if (count == 0) break;

    const size_t operations = isOther ? count - 1 : count;
    size_t done = runOperations(operations);
    if (done == operations && isOther && runOther(done, sentence)) done++;
    if (done > 0) used = frameEnds_[done - 1];
  }
  return used;
}

// Runs the first `count` of the parsed operations while the output has room; returns how many were run.
size_t Session::runOperations(size_t count) {
  if (count > 0) worker_.prepare(operations_.data(), count);
  for (size_t i = 0; i < count; i++) {
    if (!hasRoom()) {
      flags_ |= OutputFlag::MORE;
      return i;
    }
    worker_.counters().framesIn++;
    const uint32_t id = requests_[i].id;
    const Operation& operation = operations_[i];
    if (hasExpired(i)) {
      out_ += encodeStatus(out_, id, Status::EXPIRED);
      continue;
    }
    const Answer answer = worker_.execute(operation, valuePlace(out_, operation));
    out_ += encodeAnswer(out_, id, operation, answer);
  }
  return count;
}

// Runs a parsed request that is not an operation on one key. False, with MORE: not in this chunk.
bool Session::runOther(size_t index, const Sentence& sentence) {
  const Request& request = requests_[index];
  const bool isWalk = request.kind == Request::Kind::SCAN || request.kind == Request::Kind::CLEAR;
  if (!hasRoom() || (isWalk && walks_ == WALKS_MAX)) {
    flags_ |= OutputFlag::MORE;
    return false;
  }
  worker_.counters().framesIn++;
  switch (request.kind) {
    case Request::Kind::BROKEN:
      breakOff(request.id, Status::PROTOCOL_ERROR, sentence.text);
      return true;
    case Request::Kind::REFUSED:
      out_ += encodeSentence(out_, request.id, Status::REFUSED, sentence.text);
      return true;
    default:
      break;
  }
  if (hasExpired(index)) {
    out_ += encodeStatus(out_, request.id, Status::EXPIRED);
  } else if (isWalk) {
    walks_++;
    runWalk(request, operations_[index].key);
  } else if (request.kind == Request::Kind::CONTROL) {
    queueControl(request, operations_[index]);
  } else {
    out_ += encodeStatus(out_, request.id, Status::OK);
  }
  return true;
}

void Session::runWalk(const Request& request, std::string_view prefix) {
  if (request.kind == Request::Kind::SCAN) {
    uint64_t next = 0;
    const size_t room = frameBytesMax_ - SCAN_OVERHEAD_BYTES;
    const size_t bytes = worker_.scan(request.cursor, prefix, request.keysWanted, keysPlace(out_), room, &next);
    out_ += encodeScan(out_, request.id, next, bytes);
    return;
  }
  ClearStep step{0, request.horizon, 0};
  step.deleted = worker_.clear(request.cursor, prefix, &step.horizon, &step.next, [](const Written&) {});
  out_ += encodeClear(out_, request.id, step);
}

void Session::queueControl(const Request& request, const Operation& operation) {
  if (control_.size() == CONTROL_FRAMES_MAX) {
    out_ += encodeStatus(out_, request.id, Status::BUSY);
    return;
  }
  if (operation.opcode == Opcode::HELLO) connection_->state = State::WAITING;
  control_.push_back({number_, request.id, operation.opcode, operation.flags, request.deadlineMs,
                      std::string(request.extras), std::string(operation.key), std::string(operation.value)});
}

// The last answer of the connection. What it sent besides is thrown away by keep(), since run() may still look at it.
void Session::breakOff(uint32_t requestId, Status status, std::string_view sentence) {
  out_ += encodeSentence(out_, requestId, status, sentence);
  connection_->state = State::BROKEN;
  if (status == Status::PROTOCOL_ERROR) worker_.counters().protocolErrors++;
}

// Puts by what is left of a chunk: the beginning of a frame, or frames that may not be run yet.
void Session::keep(std::string_view rest) {
  Backlog& backlog = connection_->backlog;
  if (connection_->state != State::BROKEN) refuseExcess(backlog.size() + rest.size(), rest.size());
  if (connection_->state == State::BROKEN) {
    backlogBytes_ -= backlog.size();
    backlog.clear();
    connection_->heldBytes = 0;
    return;
  }
  if (!rest.empty()) backlog.append(rest);
  backlogBytes_ += rest.size();
  if (!mayGoOn() && connection_->heldBytes == 0) {
    connection_->heldBytes = backlog.size();
    connection_->heldSinceMs = nowMs_;
  }
}

// Breaks the connection off if its backlog would have `bytes`, `added` of them new, and that is more than is just.
void Session::refuseExcess(size_t bytes, size_t added) {
  if (connection_->state == State::WAITING && bytes > WAITING_BYTES_MAX) {
    breakOff(0, Status::PROTOCOL_ERROR, "Wait for the answer to HELLO before sending this much");
  } else if (bytes > frameBytesMax_ + HELD_BYTES_MAX) {
    breakOff(0, Status::BUSY, "Answers are not being read");
  } else if (backlogBytes_ + added > BACKLOG_BYTES_MAX) {
    breakOff(0, Status::BUSY, "Too many large values are under way to this node");
  }
}

bool Session::hasExpired(size_t index) const {
  const uint16_t deadlineMs = requests_[index].deadlineMs;
  if (deadlineMs == 0 || frameEnds_[index] > connection_->heldBytes) return false;
  return nowMs_ - connection_->heldSinceMs >= deadlineMs;
}

void Session::account(uint64_t beganNs, size_t inputBytes, size_t outputBytes) {
  Counters& counters = worker_.counters();
  const uint64_t tookNs = clock_() - beganNs;
  counters.bytesIn += inputBytes;
  counters.bytesOut += outputBytes;
  counters.chunkNanoseconds += tookNs;
  counters.chunkMicroseconds[bucketOf(tookNs, std::size(counters.chunkMicroseconds))]++;
}

}  // namespace henge
