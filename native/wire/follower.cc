#include "follower.h"

#include "../store/item_record.h"
#include "bytes.h"

namespace henge {

namespace {

using protocol::Status;

// Whether a copy now has the write, or one that supersedes it, or knows that it has forgotten it.
bool tookEffect(Applied applied) {
  return applied == Applied::APPLIED || applied == Applied::SUPERSEDED || applied == Applied::REFUSED_GHOST;
}

}  // namespace

Follower::Follower(Worker& worker) : worker_(worker) {}

Follower::Ran Follower::replicate(const Request& request, const Operation& operation, uint16_t sender, char** out) {
  ReplicateExtras head;
  Item item;
  if (!decodeReplicateExtras(request.extras, &head, &item)) return Ran::BROKEN;
  if (isBehind(head.epoch)) return Ran::BEHIND;
  item.key = operation.key;
  item.value = operation.value;
  item.encoding = operation.encoding;
  const Version* base = head.hasBase ? &head.base : nullptr;
  const Applied applied = isStorable(item) ? worker_.apply(item, sender, head.epoch, base) : Applied::NO_MEMORY;
  if (tookEffect(applied)) {
    acknowledgedId_ = request.id;
    return Ran::DONE;
  }
  acknowledge(out);
  *out += encodeRefusal(*out, request.id, applied);
  return Ran::DONE;
}

// Runs the whole frame even when a record of it is refused: repeats are harmless, and the sender sends it again as a
// whole.
Follower::Ran Follower::items(const Request& request, std::string_view records, uint16_t sender, char** out) {
  const auto epoch = load<uint32_t>(request.extras.data());
  if (isBehind(epoch)) return Ran::BEHIND;
  Tally tally;
  Applied worst = Applied::APPLIED;
  Item item;
  while (!records.empty()) {
    if (!decodeItemRecord(&records, &item)) return Ran::BROKEN;
    const Applied applied = isStorable(item) ? worker_.merge(item, sender, epoch) : Applied::NO_MEMORY;
    switch (applied) {
      case Applied::APPLIED:
        tally.applied++;
        break;
      case Applied::SUPERSEDED:
        tally.superseded++;
        break;
      case Applied::REFUSED_GHOST:
        tally.refused++;
        break;
      case Applied::NO_MEMORY:
        tally.notStored++;
        break;
      default:
        if (worst != Applied::STALE) worst = applied;
        break;
    }
  }
  acknowledge(out);
  *out += tookEffect(worst) ? encodeTally(*out, request.id, tally) : encodeRefusal(*out, request.id, worst);
  return Ran::DONE;
}

Follower::Ran Follower::query(const Request& request, Operation* operation, uint16_t sender, char** out) {
  const auto epoch = load<uint32_t>(request.extras.data());
  if (isBehind(epoch)) return Ran::BEHIND;
  acknowledge(out);
  worker_.prepare(operation, 1);
  const Version theirs = loadVersion(request.extras.data() + 8);
  switch (worker_.query(*operation, theirs, sender, epoch, &newer_)) {
    case Match::SAME:
      *out += encodeStatus(*out, request.id, Status::OK);
      break;
    case Match::OLDER:
      *out += encodeStatus(*out, request.id, Status::VERSION_MISMATCH);
      break;
    case Match::NEWER:
      *out += encodeNewer(*out, request.id, newer_);
      break;
    case Match::STALE:
      *out += encodeStale(*out, request.id, worker_.installedEpoch());
      break;
    case Match::BUSY:
      *out += encodeStatus(*out, request.id, Status::BUSY);
      break;
  }
  return Ran::DONE;
}

void Follower::acknowledge(char** out) {
  if (acknowledgedId_ == 0) return;
  *out += encodeStatus(*out, acknowledgedId_, Status::OK);
  acknowledgedId_ = 0;
}

bool Follower::isBehind(uint32_t epoch) {
  if (epoch <= worker_.installedEpoch()) return false;
  epochAhead_ = epoch;
  return true;
}

// A frame has room for a value larger than this node answers with.
bool Follower::isStorable(const Item& item) const { return item.value.size() <= worker_.view().valueBytesMax; }

size_t Follower::encodeRefusal(char* out, uint32_t id, Applied applied) const {
  switch (applied) {
    case Applied::STALE:
      return encodeStale(out, id, worker_.installedEpoch());
    case Applied::NEED_FULL:
      return encodeStatus(out, id, Status::NEED_FULL);
    case Applied::NO_MEMORY:
      return encodeStatus(out, id, Status::OUT_OF_MEMORY);
    default:
      return encodeStatus(out, id, Status::BUSY);
  }
}

}  // namespace henge
