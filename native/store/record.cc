#include "record.h"

namespace henge {

namespace {

constexpr uint32_t STAMPS_MAX = 255;

Stamp* stampAt(const View& view, uint32_t region, uint32_t index) {
  char* end = view.region(region) + view.geometry.regionBytes;
  return reinterpret_cast<Stamp*>(end - (static_cast<size_t>(index) + 1) * sizeof(Stamp));
}

}  // namespace

int findStamp(const View& view, uint32_t region, uint32_t epoch, uint16_t node) {
  const uint32_t count = view.regionMetas[region].stamps;
  for (uint32_t i = 0; i < count && i < STAMPS_MAX; i++) {
    const Stamp* stamp = stampAt(view, region, i);
    if (stamp->epoch == epoch && stamp->node == node) return static_cast<int>(i);
  }
  return -1;
}

int internStamp(const View& view, uint32_t region, uint32_t epoch, uint16_t node, uint32_t headLimit) {
  const int found = findStamp(view, region, epoch, node);
  if (found >= 0) return found;
  RegionMeta& meta = view.regionMetas[region];
  const uint32_t count = meta.stamps;
  if (count >= STAMPS_MAX) return -1;
  if (headLimit + (count + 1) * sizeof(Stamp) > view.geometry.regionBytes) return -1;
  *stampAt(view, region, count) = Stamp{epoch, node, 1};
  meta.stamps = static_cast<uint16_t>(count + 1);
  return static_cast<int>(count);
}

Version Record::version() const {
  const uint32_t region = view_->regionOf(offset_);
  const RecordHead* record = head();
  const Stamp* stamp = stampAt(*view_, region, record->stamp);
  Version version;
  version.epoch = stamp->epoch;
  version.node = stamp->node;
  if ((record->extra & EXTRA_WIDE) != 0) {
    memcpy(&version.time, at_ + wideAt(), WIDE_BYTES);
  } else {
    const uint64_t ms = view_->regionMetas[region].baseMs +
                        static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(record->ms)));
    version.time = ms << 16 | record->counter;
  }
  return version;
}

bool Record::hasStamp() const {
  const uint64_t tableBytes = (head()->stamp + uint64_t{1}) * sizeof(Stamp);
  if (view_->bytesInRegion(offset_) + size() + tableBytes > view_->geometry.regionBytes) return false;
  return stampAt(*view_, view_->regionOf(offset_), head()->stamp)->used == 1;
}

bool Record::setVersion(const Version& version, bool mayIntern) const {
  const uint32_t region = view_->regionOf(offset_);
  const int stamp = mayIntern
                        ? internStamp(*view_, region, version.epoch, version.node, view_->regionMetas[region].head)
                        : findStamp(*view_, region, version.epoch, version.node);
  if (stamp < 0) return false;
  const uint64_t baseMs = view_->regionMetas[region].baseMs;
  const bool isWide = (head()->extra & EXTRA_WIDE) != 0;
  if (!isWide && needsWide(baseMs, version.time)) return false;
  if (isWide) {
    memcpy(at_ + wideAt(), &version.time, WIDE_BYTES);
  } else {
    head()->ms = static_cast<uint32_t>((version.time >> 16) - baseMs);
    head()->counter = static_cast<uint16_t>(version.time);
  }
  head()->stamp = static_cast<uint8_t>(stamp);
  return true;
}

bool Record::copy(uint32_t from, uint32_t length, char* out) const {
  const uint32_t here = inlineBytes();
  if (from < here) {
    const uint32_t part = length < here - from ? length : here - from;
    memcpy(out, at_ + payloadAt() + from, part);
    out += part;
    from += part;
    length -= part;
  }
  if (length == 0) return true;
  if (!isBig()) return false;
  uint32_t skip = from - here;
  uint32_t offset = big().firstFragment;
  while (length > 0) {
    if (!fragmentPlausible(*view_, offset)) return false;
    const FragmentHead* fragment = fragmentAt(*view_, offset);
    const uint32_t bytes = Word::payload(fragment->word);
    if (bytes == 0) return false;
    if (skip >= bytes) {
      skip -= bytes;
    } else {
      const uint32_t part = length < bytes - skip ? length : bytes - skip;
      memcpy(out, reinterpret_cast<const char*>(fragment + 1) + skip, part);
      out += part;
      length -= part;
      skip = 0;
    }
    offset = fragment->next;
  }
  return true;
}

bool Record::keyEquals(std::string_view wanted) const {
  if (keyBytes() != wanted.size()) return false;
  if (keyBytes() <= inlineBytes()) return memcmp(at_ + payloadAt(), wanted.data(), wanted.size()) == 0;
  // A key of many kilobytes, cut into fragments: compared piece by piece.
  char piece[512];
  for (uint32_t from = 0; from < wanted.size(); from += sizeof piece) {
    const uint32_t left = static_cast<uint32_t>(wanted.size()) - from;
    const uint32_t bytes = left < sizeof piece ? left : static_cast<uint32_t>(sizeof piece);
    if (!copy(from, bytes, piece) || memcmp(piece, wanted.data() + from, bytes) != 0) return false;
  }
  return true;
}

namespace {

// A key that does not stand in one piece, put together; keys are at most 65,535 bytes.
std::string_view wholeKey(const Record& record, char* buffer) {
  if (!record.copy(0, record.keyBytes(), buffer)) return {buffer, 0};
  return {buffer, record.keyBytes()};
}

}  // namespace

KeyPlace Record::place() const {
  if (kind() == RecordKind::TOMBSTONE) {
    KeyPlace place;
    memcpy(&place.hash, at_ + payloadAt(), sizeof place.hash);
    memcpy(&place.slot, at_ + payloadAt() + sizeof place.hash, sizeof place.slot);
    return place;
  }
  if (keyBytes() <= inlineBytes()) {
    const std::string_view inlineKey{at_ + payloadAt(), keyBytes()};
    return {view_->hash(inlineKey), view_->localSlot(slotOf(inlineKey))};
  }
  static thread_local char buffer[protocol::Limit::KEY_BYTES_MAX];
  const std::string_view whole = wholeKey(*this, buffer);
  return {view_->hash(whole), view_->localSlot(slotOf(whole))};
}

bool Record::plausible(const View& view, uint32_t offset) {
  if (!view.inRegions(offset)) return false;
  const uint32_t start = view.bytesInRegion(offset);
  const uint32_t room = view.geometry.regionBytes - start;
  if (start < REGION_HEAD_BYTES || room < sizeof(RecordHead)) return false;
  const Record record(view, offset);
  const uint32_t word = record.word();
  if (Word::kind(word) == RecordKind::FRAGMENT) return fragmentPlausible(view, offset);
  if (record.payloadAt() > room || record.size() > room) return false;
  if (Word::kind(word) == RecordKind::TOMBSTONE)
    return !record.isBig() && record.head()->keyLength == TOMBSTONE_KEY_BYTES;
  if (!record.isBig()) return record.head()->keyLength > 0;
  const Big big = record.big();
  if (big.keyLength == 0 || big.keyLength > protocol::Limit::KEY_BYTES_MAX) return false;
  if (big.valueLength > protocol::Limit::VALUE_BYTES_MAX) return false;
  const uint64_t total = static_cast<uint64_t>(big.keyLength) + big.valueLength;
  return big.firstFragment == 0 ? total == record.inlineBytes() : total > record.inlineBytes();
}

bool fragmentPlausible(const View& view, uint32_t offset) {
  if (!view.inRegions(offset)) return false;
  const uint32_t start = view.bytesInRegion(offset);
  const uint32_t room = view.geometry.regionBytes - start;
  if (start < REGION_HEAD_BYTES || room < sizeof(FragmentHead)) return false;
  const FragmentHead* fragment = fragmentAt(view, offset);
  if (Word::kind(fragment->word) != RecordKind::FRAGMENT) return false;
  const uint32_t bytes = Word::payload(fragment->word);
  return bytes > 0 && bytes <= room - sizeof(FragmentHead);
}

uint32_t Record::sizeOf(const View& view, const Draft& draft, bool wide) {
  uint32_t bytes = static_cast<uint32_t>(sizeof(RecordHead) + draft.first.size() + draft.second.size());
  if (draft.expiresAt != 0) bytes += EXPIRY_BYTES;
  if (wide) bytes += WIDE_BYTES;
  if (draft.isBig()) bytes += static_cast<uint32_t>(sizeof(Big));
  return view.rounded(bytes);
}

void Record::write(const View& view, char* at, const Draft& draft, uint8_t stamp, uint64_t baseMs, bool wide) {
  const Record record(view, view.offsetOf(at));
  const auto inlineBytes = static_cast<uint32_t>(draft.first.size() + draft.second.size());
  const uint32_t bits = (draft.expiresAt != 0 ? Word::TTL : 0) | (draft.isBig() ? Word::BIG : 0);
  RecordHead* head = record.head();
  head->ms = static_cast<uint32_t>((draft.version.time >> 16) - baseMs);
  head->counter = static_cast<uint16_t>(draft.version.time);
  head->stamp = stamp;
  head->keyLength = draft.isBig() ? 0 : static_cast<uint8_t>(draft.keyBytes);
  head->word = Word::make(draft.isBig() ? inlineBytes : draft.valueBytes, draft.kind, bits, draft.encoding);
  head->heat = draft.heat;
  head->extra = wide ? EXTRA_WIDE : 0;
  if (draft.expiresAt != 0) record.setExpiresAt(draft.expiresAt);
  if (draft.isBig()) record.setBig(Big{draft.keyBytes, draft.valueBytes, draft.firstFragment});
  char* payload = at + record.payloadAt();
  if (wide) memcpy(payload - WIDE_BYTES, &draft.version.time, WIDE_BYTES);
  if (!draft.first.empty()) memcpy(payload, draft.first.data(), draft.first.size());
  if (!draft.second.empty()) memcpy(payload + draft.first.size(), draft.second.data(), draft.second.size());
}

}  // namespace henge
