#include "session.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iterator>
#include <utility>

namespace henge {

namespace {

using protocol::Opcode;
using protocol::Status;
using State = Connection::State;

constexpr size_t ROLE_AT = 6;  // in HELLO's extras
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
      isReplicated_(worker.view().replicated),
      clock_(std::move(clock)),
      owed_(connections_),
      leader_(worker, owed_, frameBytesMax_),
      follower_(worker) {
  control_.reserve(CONTROL_FRAMES_MAX);
}

void Session::greet(int32_t number, uint8_t role, uint16_t node) {
  Connection* connection = connections_.find(number);
  assert(connection != nullptr);
  if (connection->state != State::WAITING && connection->state != State::CHALLENGED) return;
  connection->state = State::OPEN;
  connection->gate.expects = Gate::Expects::REQUESTS;
  connection->gate.isPeer = role == protocol::Role::PEER;
  connection->gate.frameBytesMax = frameBytesMax_;
  connection->node = connection->gate.isPeer ? node : uint16_t{0};
}

void Session::disconnect(int32_t number) {
  Connection* connection = connections_.find(number);
  if (connection == nullptr) return;
  leader_.linkDown(number);
  backlogBytes_ -= connection->backlog.size();
  const auto isItsOwn = [number](const ControlFrame& frame) { return frame.connection == number; };
  control_.erase(std::remove_if(control_.begin(), control_.end(), isItsOwn), control_.end());
  connections_.remove(number);
}

bool Session::linkUp(int32_t number, uint16_t node) {
  Connection* connection = connections_.find(number);
  assert(connection != nullptr);
  if (connection->state != State::GREETING || !connection->backlog.isEmpty()) return false;
  if (!leader_.linkUp(number, node)) return false;
  connection->state = State::LINK;
  connection->node = node;
  return true;
}

// Also one that broke and is about to be closed: what is asked on it is answered as lost then.
bool Session::isLink(int32_t number) { return leader_.isLink(number); }

int32_t Session::nextOutput(Output output, size_t* bytes) {
  assert(output.bytes >= outputBytesMin());
  const int32_t number = owed_.take(output, bytes);
  worker_.counters().bytesOut += *bytes;
  return number;
}

void Session::tick() {
  worker_.tick();
  leader_.look(clock_() / NANOSECONDS_PER_MS);
}

uint32_t Session::flags() const {
  const bool hasControl = !control_.empty() || leader_.hasAnswers();
  return (hasControl ? OutputFlag::CONTROL : 0) | (owed_.isEmpty() ? 0 : OutputFlag::OTHERS);
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
  if (isReplicated_) leader_.look(nowMs_);
  if (!connection_->backlog.isEmpty()) input = runBacklog(input);
  if (connection_->backlog.isEmpty() && mayGoOn()) input.remove_prefix(run(input));
  follower_.acknowledge(&out_);
  keep(input);

  uint32_t epochAhead = (flags_ & OutputFlag::BEHIND) != 0 ? follower_.epochAhead() : 0;
  if (connection_->state == State::LINK) epochAhead = leader_.epochAhead();
  if (epochAhead != 0) flags_ |= OutputFlag::BEHIND;
  if (connection_->state == State::BROKEN) flags_ |= OutputFlag::CLOSE;
  flags_ |= flags();
  const auto outputBytes = static_cast<size_t>(out_ - output.at);
  account(beganNs, inputBytes, outputBytes);
  return {outputBytes, flags_, epochAhead};
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
size_t Session::runRequests(std::string_view bytes) {
  size_t used = 0;
  while (mayGoOn()) {
    Sentence sentence;
    size_t count = 0;
    bool isOther = false;
    for (size_t at = used; count < BATCH && !isOther; at = frameEnds_[count++]) {
      if (!parse(bytes.substr(at), connection_->gate, &requests_[count], &operations_[count], &sentence)) break;
      frameEnds_[count] = at + requests_[count].frameBytes;
      const Request::Kind kind = requests_[count].kind;
      isOther = kind != Request::Kind::OPERATION && kind != Request::Kind::REPLICATE;
    }
    if (count == 0) break;

    const size_t operations = isOther ? count - 1 : count;
    size_t done = runOperations(operations);
    if (done == operations && isOther && runOther(done, sentence)) done++;
    if (done > 0) used = frameEnds_[done - 1];
  }
  return used;
}

// Takes in the answers at the beginning of `bytes`, which came on a link; returns their length.
size_t Session::runReplies(std::string_view bytes) {
  size_t used = 0;
  Reply reply;
  while (mayGoOn()) {
    const bool isPossible = parseReply(bytes.substr(used), frameBytesMax_, &reply);
    if (isPossible && reply.frameBytes == 0) break;
    used += reply.frameBytes;
    worker_.counters().framesIn++;
    if (isPossible && leader_.hear(number_, reply)) continue;
    connection_->state = State::BROKEN;
    worker_.counters().protocolErrors++;
  }
  return used;
}

// Runs the first `count` of the parsed operations while the output has room; returns how many were run.
size_t Session::runOperations(size_t count) {
  if (count > 0) worker_.prepare(operations_.data(), count);
  if (isReplicated_) return runReplicated(count);
  for (size_t i = 0; i < count; i++) {
    if (!hasRoom()) {
      flags_ |= OutputFlag::MORE;
      return i;
    }
    countRequest();
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

// The same where there are copies: what is written goes to them, and what other nodes write comes here.
size_t Session::runReplicated(size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!hasRoom()) {
      flags_ |= OutputFlag::MORE;
      return i;
    }
    if (requests_[i].kind == Request::Kind::REPLICATE) {
      if (!runPeers(i)) return i;
    } else {
      runReplicatedOperation(i);
    }
    countRequest();
  }
  return count;
}

void Session::runReplicatedOperation(size_t index) {
  const Request& request = requests_[index];
  Operation& operation = operations_[index];
  operation.acksNeeded = leader_.votesFor(operation);
  if (hasExpired(index)) {
    out_ += encodeStatus(out_, request.id, Status::EXPIRED);
    return;
  }
  if (operation.acksNeeded > 0 && leader_.isFull()) {
    out_ += encodeStatus(out_, request.id, Status::BUSY);
    return;
  }
  const Answer answer = worker_.execute(operation, valuePlace(out_, operation));
  const size_t bytes = encodeAnswer(out_, request.id, operation, answer);
  const uint64_t waitMs = request.deadlineMs > 0 ? request.deadlineMs : Leader::WAIT_MS;
  const Asker asker{number_, request.id, nowMs_ + waitMs};
  bool isPutBy = false;
  if (operation.opcode != Opcode::GET) {
    isPutBy = leader_.write(asker, operation, {out_, bytes});
  } else if (operation.acksNeeded > 0 && (answer.status == Status::OK || answer.status == Status::NOT_FOUND)) {
    leader_.read(asker, operation, answer, {out_, bytes});
    isPutBy = true;
  }
  if (!isPutBy) out_ += bytes;
}

// Runs a parsed frame by which nodes replicate. False, with BEHIND: not before that epoch is here.
bool Session::runPeers(size_t index) {
  const Request& request = requests_[index];
  Operation& operation = operations_[index];
  const uint16_t node = connection_->node;
  if (node == 0 || !isReplicated_) {
    out_ += encodeSentence(out_, request.id, Status::REFUSED,
                           "Only a node with a number has copies, and of a replicated store");
    return true;
  }
  Follower::Ran ran = Follower::Ran::BROKEN;
  if (request.kind == Request::Kind::REPLICATE) ran = follower_.replicate(request, operation, node, &out_);
  if (request.kind == Request::Kind::ITEMS) ran = follower_.items(request, operation.value, node, &out_);
  if (request.kind == Request::Kind::QUERY) ran = follower_.query(request, &operation, node, &out_);
  if (ran == Follower::Ran::BROKEN) breakOff(request.id, Status::PROTOCOL_ERROR, "This is no item's record");
  if (ran == Follower::Ran::BEHIND) flags_ |= OutputFlag::BEHIND;
  return ran != Follower::Ran::BEHIND;
}

// Runs a parsed request that is not an operation on one key. False: not in this chunk, or not in this epoch.
bool Session::runOther(size_t index, const Sentence& sentence) {
  const Request& request = requests_[index];
  const bool isWalk = request.kind == Request::Kind::SCAN || request.kind == Request::Kind::CLEAR;
  if (!hasRoom() || (isWalk && walks_ == WALKS_MAX)) {
    flags_ |= OutputFlag::MORE;
    return false;
  }
  if (request.kind == Request::Kind::ITEMS || request.kind == Request::Kind::QUERY) {
    const bool isDone = runPeers(index);
    worker_.counters().framesIn += isDone ? 1 : 0;
    return isDone;
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
    worker_.counters().requests++;
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
  const auto send = [this](const Written& written) { leader_.send(written); };
  step.deleted = worker_.clear(request.cursor, prefix, &step.horizon, &step.next, send);
  out_ += encodeClear(out_, request.id, step);
}

void Session::queueControl(const Request& request, const Operation& operation) {
  if (control_.size() == CONTROL_FRAMES_MAX) {
    out_ += encodeStatus(out_, request.id, Status::BUSY);
    return;
  }
  if (operation.opcode == Opcode::HELLO) {
    const bool isPeer = request.extras[ROLE_AT] == protocol::Role::PEER;
    connection_->state = isPeer ? State::CHALLENGED : State::WAITING;
    if (isPeer) connection_->gate.expects = Gate::Expects::PROOF;
  } else if (operation.opcode == Opcode::AUTHENTICATE) {
    connection_->state = State::WAITING;
  }
  control_.push_back({number_, connection_->node, request.id, operation.opcode, operation.flags, request.deadlineMs,
                      std::string(request.extras), std::string(operation.key), std::string(operation.value)});
}

// The last answer of the connection. What it sent besides is thrown away by keep(), since run() may still look at it.
void Session::breakOff(uint32_t requestId, Status status, std::string_view sentence) {
  follower_.acknowledge(&out_);
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
  } else if (bytes > frameBytesMax_ + (connection_->node == 0 ? HELD_BYTES_MAX : PEER_HELD_BYTES_MAX)) {
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
