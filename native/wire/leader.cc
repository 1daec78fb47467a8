#include "leader.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "../store/item_record.h"
#include "bytes.h"
#include "encoder.h"

namespace henge {

namespace {

using protocol::Opcode;
using protocol::Status;
namespace Flag = protocol::RequestFlag;

constexpr size_t ID_AT = 8;  // of a request's id in its header

Status statusOf(const Reply& reply) { return static_cast<Status>(reply.status); }

// Which epoch a STALE names.
uint32_t epochOf(const Reply& reply) {
  const bool isNamed = statusOf(reply) == Status::STALE && reply.extras.size() >= sizeof(uint32_t);
  return isNamed ? load<uint32_t>(reply.extras.data()) : 0;
}

}  // namespace

Leader::Leader(Worker& worker, Owed& owed, size_t frameBytesMax)
    : worker_(worker),
      owed_(owed),
      frameBytesMax_(frameBytesMax),
      isReplicated_(worker.view().replicated),
      epoch_(worker.installedEpoch()) {}

// ---- links ---------------------------------------------------------------------------------------------------------

bool Leader::linkUp(int32_t connection, uint16_t node) {
  const auto isThere = [node](const std::unique_ptr<Link>& link) { return link != nullptr && link->node() == node; };
  if (std::any_of(links_.begin(), links_.end(), isThere)) return false;
  int handle = -1;
  if (isReplicated_) {
    handle = worker_.openLink(node);
  } else {  // no copies, so no rings: JavaScript's requests are all that goes out
    const auto free = std::find(links_.begin(), links_.end(), nullptr);
    if (free != links_.end()) handle = static_cast<int>(free - links_.begin());
  }
  if (handle < 0) return false;
  links_[static_cast<size_t>(handle)] = std::make_unique<Link>(connection, node, handle);
  return true;
}

void Leader::linkDown(int32_t connection) {
  Link* found = linkOf(connection);
  if (found == nullptr) return;
  const std::unique_ptr<Link> link = std::move(links_[static_cast<size_t>(found->handle())]);
  if (isReplicated_) worker_.closeLink(link->handle());
  for (const uint32_t id : link->ownIds()) answers_.push_back({connection, id, LinkAnswer::LOST, "", ""});
  for (const UnderWay& request : link->queue()) vote(request.ticket, false);
  const auto isOfLink = [connection](const Early& early) { return early.connection == connection; };
  for (const Early& early : takeEarly(isOfLink)) vote(early.ticket, false);
}

uint32_t Leader::request(int32_t connection, std::string frame) {
  Link* link = linkOf(connection);
  assert(link != nullptr && frame.size() >= protocol::REQUEST_HEADER_BYTES && frame.size() <= frameBytesMax_);
  std::string* outbox = owed_.outboxOf(connection);
  if (!link->mayBeginOwn() || outbox == nullptr) return 0;
  const uint32_t id = link->takeId();
  store(frame.data() + ID_AT, id);
  outbox->append(frame);
  link->beganOwn(id, static_cast<uint32_t>(frame.size()));
  weigh(*link);
  return id;
}

std::vector<LinkAnswer> Leader::takeAnswers() {
  std::vector<LinkAnswer> taken;
  taken.swap(answers_);
  return taken;
}

uint32_t Leader::epochAhead() const { return epochHeard_ > worker_.installedEpoch() ? epochHeard_ : 0; }

// There are as many links as other nodes, and an answer stands for many frames.
Link* Leader::linkOf(int32_t connection) {
  for (const std::unique_ptr<Link>& link : links_) {
    if (link != nullptr && link->connection() == connection) return link.get();
  }
  return nullptr;
}

// What is under way besides one write counts too: bytes are memory, whoever asked for them.
void Leader::weigh(Link& link) {
  const bool wasFull = link.isFull();
  link.weigh();
  if (isReplicated_ && link.isFull() != wasFull) worker_.setLinkFull(link.handle(), link.isFull());
}

// ---- answers -------------------------------------------------------------------------------------------------------

bool Leader::hear(int32_t connection, const Reply& reply) {
  Link* link = linkOf(connection);
  if (link == nullptr || reply.id == 0) return false;
  if (link->endOwn(reply.id)) {
    answers_.push_back({connection, reply.id, reply.status, std::string(reply.extras), std::string(reply.value)});
    weigh(*link);
    return true;
  }
  // One OK answers all writes up to its own; anything else is about one request, the oldest.
  uint32_t tookEffect = 0;
  std::optional<UnderWay> request = link->end(reply.id);
  while (request && request->id != reply.id) {
    if (statusOf(reply) != Status::OK || request->kind != UnderWay::Kind::REPLICATE) break;
    tookEffect++;
    vote(request->ticket, true);
    request = link->end(reply.id);
  }
  const bool isMeant =
      request && request->id == reply.id && (tookEffect == 0 || request->kind == UnderWay::Kind::REPLICATE);
  if (isReplicated_ && tookEffect > 0) worker_.acknowledge(link->handle(), tookEffect);
  if (!isMeant) {
    if (request) vote(request->ticket, false);
    return false;
  }
  if (request->kind == UnderWay::Kind::REPLICATE) {
    hearWrite(*link, *request, reply);
  } else {
    hearQuery(*link, *request, reply);
  }
  weigh(*link);
  return true;
}

void Leader::hearWrite(Link& link, const UnderWay& request, const Reply& reply) {
  const bool isOk = statusOf(reply) == Status::OK;
  if (isOk) {
    worker_.acknowledge(link.handle(), 1);
  } else {
    epochHeard_ = std::max(epochHeard_, epochOf(reply));
    worker_.refuseOldest(link.handle(), statusOf(reply) == Status::STALE, epochOf(reply));
  }
  if (epochOf(reply) != 0) return hearEarly(link, request.ticket, epochOf(reply));
  vote(request.ticket, isOk);
}

// That a copy heard of an epoch first says nothing of the write: as soon as the epoch is here, and this node leads the
// slot in it too, the copy gets what is here then.
void Leader::hearEarly(const Link& link, uint64_t ticket, uint32_t epoch) {
  Pending* pending = pendings_.find(ticket);
  if (pending == nullptr) return;
  if (pending->rounds == ROUNDS_MAX) return vote(ticket, false);
  pending->rounds++;
  early_.push_back({link.connection(), ticket, epoch});
  sendEarlyAgain();
}

void Leader::sendEarlyAgain() {
  const uint32_t installed = worker_.installedEpoch();
  const std::vector<Early> ripe = takeEarly([installed](const Early& early) { return early.epoch <= installed; });
  for (const Early& early : ripe) sendAgain(*linkOf(early.connection), early.ticket);
}

// Those that `isMeant`; of those whose ballot is closed nothing is kept.
template <typename IsMeant>
std::vector<Leader::Early> Leader::takeEarly(IsMeant isMeant) {
  std::vector<Early> taken;
  std::vector<Early> kept;
  for (const Early& early : early_) {
    if (pendings_.find(early.ticket) == nullptr) continue;
    (isMeant(early) ? taken : kept).push_back(early);
  }
  early_ = std::move(kept);
  return taken;
}

void Leader::hearQuery(Link& link, const UnderWay& request, const Reply& reply) {
  switch (statusOf(reply)) {
    case Status::OK:
      vote(request.ticket, true);
      return;
    case Status::VERSION_MISMATCH:
      sendAgain(link, request.ticket);
      return;
    case Status::EXISTS:
      mergeNewer(link, request.ticket, reply.value);
      return;
    default:
      epochHeard_ = std::max(epochHeard_, epochOf(reply));
      vote(request.ticket, false);
      return;
  }
}

// The copy lacks what was read, or has something older: it gets what is here, and has voted when it says OK to that.
void Leader::sendAgain(Link& link, uint64_t ticket) {
  const Pending* pending = pendings_.find(ticket);
  if (pending == nullptr) return;
  Operation operation;
  operation.key = pending->key;
  worker_.prepare(&operation, 1);
  Written written;
  if (worker_.describe(operation, link.handle(), &written)) {
    sendTo(link, written, ticket);
  } else {
    // Nothing is here any more. A miss may be answered at any time: caches forget.
    vote(ticket, pending->isMiss);
  }
}

void Leader::mergeNewer(Link& link, uint64_t ticket, std::string_view record) {
  if (pendings_.find(ticket) == nullptr) return;
  Item item;
  if (!decodeItemRecord(&record, &item)) {
    vote(ticket, false);
    return;
  }
  switch (worker_.merge(item, link.node(), worker_.installedEpoch())) {
    case Applied::APPLIED:
    case Applied::SUPERSEDED:
      readAgain(ticket);
      return;
    case Applied::REFUSED_GHOST:  // it was here, and is forgotten: it counts as a miss
      vote(ticket, true);
      return;
    default:
      vote(ticket, false);
      return;
  }
}

// ---- writes --------------------------------------------------------------------------------------------------------

uint8_t Leader::votesFor(const Operation& operation) const {
  const auto level = static_cast<uint8_t>(operation.flags & Flag::LEVEL_MASK);
  if (level == WriteLevel::ONE || (operation.opcode == Opcode::GET && level != ReadLevel::QUORUM)) return 0;
  return static_cast<uint8_t>(worker_.acksFor(level));
}

bool Leader::write(const Asker& asker, const Operation& operation, std::string_view answer) {
  const Written& written = worker_.written();
  if (written.linkCount == 0) return false;
  if (operation.acksNeeded == 0) {
    send(written);
    return false;
  }
  Pending pending;
  pending.needed = operation.acksNeeded;
  pending.outstanding = static_cast<uint8_t>(__builtin_popcount(written.voters));
  pending.slot = operation.slot;
  pending.connection = asker.connection;
  pending.requestId = asker.requestId;
  pending.deadlineMs = asker.deadlineMs;
  pending.answer = answer;
  pending.key = operation.key;
  const uint64_t ticket = pendings_.open(std::move(pending));
  send(written, ticket);
  const Pending* opened = pendings_.find(ticket);
  if (opened->outstanding < opened->needed) fail(*opened);
  return true;
}

void Leader::send(const Written& written, uint64_t ticket) {
  for (uint8_t i = 0; i < written.linkCount; i++) {
    const bool isVoter = (written.voters >> i & 1) != 0;
    sendTo(*links_[written.links[i]], written, isVoter ? ticket : NO_TICKET);
  }
}

void Leader::sendTo(Link& link, const Written& written, uint64_t ticket) {
  std::string* outbox = owed_.outboxOf(link.connection());
  assert(outbox != nullptr && "a link lives as long as its connection");
  const size_t before = outbox->size();
  const uint32_t id = link.takeId();
  appendReplicate(outbox, id, written);
  link.began({id, static_cast<uint32_t>(outbox->size() - before), ticket, UnderWay::Kind::REPLICATE});
  weigh(link);
}

// ---- quorum reads --------------------------------------------------------------------------------------------------

void Leader::read(const Asker& asker, const Operation& operation, const Answer& answer, std::string_view encoded) {
  Pending pending;
  pending.kind = Pending::Kind::READ;
  pending.needed = operation.acksNeeded;
  pending.slot = operation.slot;
  pending.connection = asker.connection;
  pending.requestId = asker.requestId;
  pending.deadlineMs = asker.deadlineMs;
  pending.answer = encoded;
  pending.flags = operation.flags;
  pending.key = operation.key;
  beginRead(std::move(pending), answer);
}

void Leader::beginRead(Pending pending, const Answer& answer) {
  pending.outstanding = answer.rowLinkCount;
  pending.isMiss = answer.status == Status::NOT_FOUND;
  pending.rounds++;
  const Question question{worker_.installedEpoch(), pending.slot, answer.version, {}};
  const uint64_t ticket = pendings_.open(std::move(pending));
  const Pending* opened = pendings_.find(ticket);
  for (uint8_t i = 0; i < answer.rowLinkCount; i++) {
    Link& link = *links_[answer.rowLinks[i]];
    std::string* outbox = owed_.outboxOf(link.connection());
    const size_t before = outbox->size();
    const uint32_t id = link.takeId();
    appendQuery(outbox, id, {question.epoch, question.slot, question.version, opened->key});
    link.began({id, static_cast<uint32_t>(outbox->size() - before), ticket, UnderWay::Kind::QUERY});
    weigh(link);
  }
  if (opened->outstanding < opened->needed) fail(*opened);
}

// A copy had something newer, which is here now. The ballot so far was about something else.
void Leader::readAgain(uint64_t ticket) {
  Pending pending = *pendings_.find(ticket);
  if (pending.rounds == ROUNDS_MAX) {
    fail(pending);
    return;
  }
  pendings_.close(ticket);
  if (scratch_ == nullptr) scratch_ = std::make_unique<char[]>(frameBytesMax_);
  Operation operation;
  operation.opcode = Opcode::GET;
  operation.flags = pending.flags;
  operation.key = pending.key;
  operation.acksNeeded = votesFor(operation);
  worker_.prepare(&operation, 1);
  const Answer answer = worker_.execute(operation, valuePlace(scratch_.get(), operation));
  const size_t bytes = encodeAnswer(scratch_.get(), pending.requestId, operation, answer);
  const std::string_view encoded(scratch_.get(), bytes);
  if (answer.status != Status::OK && answer.status != Status::NOT_FOUND) {
    settle(pending, encoded);
    return;
  }
  pending.answer = encoded;
  pending.needed = operation.acksNeeded;
  beginRead(std::move(pending), answer);
}

// ---- ballots -------------------------------------------------------------------------------------------------------

void Leader::vote(uint64_t ticket, bool isFor) {
  Pending* pending = pendings_.find(ticket);
  if (pending == nullptr) return;
  pending->outstanding--;
  if (isFor) pending->needed--;
  if (pending->needed == 0) {
    settle(*pending, pending->answer);
    pendings_.close(ticket);
  } else if (pending->outstanding < pending->needed) {
    fail(*pending);
  }
}

// The answer goes out, if whoever asked is still there.
void Leader::settle(const Pending& pending, std::string_view answer) {
  std::string* outbox = owed_.outboxOf(pending.connection);
  if (outbox != nullptr) outbox->append(answer);
}

// A write may have been applied. A read may be tried again.
void Leader::fail(const Pending& pending) {
  const bool isRead = pending.kind == Pending::Kind::READ;
  char answer[protocol::RESPONSE_HEADER_BYTES];
  encodeStatus(answer, pending.requestId, isRead ? Status::NOT_READY : Status::NOT_ENOUGH_REPLICAS);
  settle(pending, {answer, sizeof answer});
  pendings_.close(pending.ticket);
}

void Leader::look(uint64_t nowMs) {
  if (epoch_ != worker_.installedEpoch()) {
    epoch_ = worker_.installedEpoch();
    for (const uint64_t ticket : pendings_.tickets()) {
      const Pending* pending = pendings_.find(ticket);
      if (!worker_.leads(pending->slot)) fail(*pending);
    }
  }
  if (!early_.empty()) sendEarlyAgain();
  if (nowMs < pendings_.soonestMs()) return;
  for (const uint64_t ticket : pendings_.expired(nowMs)) fail(*pendings_.find(ticket));
}

}  // namespace henge
