// Reading and writing single records: the only code that knows how lengths, expiry and versions are packed into them.
//
// A record is read under its segment's lock, where it is known to be whole; or without it (prefetching, sampling,
// walking a region), where any bytes may be met. `plausible` is what stands between the second kind of reader and a
// wild pointer.
#pragma once

#include <cstring>

#include "view.h"

namespace henge {

struct Word {
  static constexpr uint32_t TTL = 1u << 21;
  static constexpr uint32_t UPDATING = 1u << 22;
  static constexpr uint32_t BIG = 1u << 23;

  static uint32_t make(uint32_t payloadBytes, RecordKind kind, uint32_t bits, uint8_t encoding) {
    return payloadBytes | static_cast<uint32_t>(kind) << 19 | bits | static_cast<uint32_t>(encoding) << 24;
  }
  static uint32_t payload(uint32_t word) { return word & PAYLOAD_BYTES_MAX; }
  static RecordKind kind(uint32_t word) { return static_cast<RecordKind>((word >> 19) & 3); }
  static uint32_t withKind(uint32_t word, RecordKind kind) {
    return (word & ~(3u << 19)) | static_cast<uint32_t>(kind) << 19;
  }
  static uint8_t encoding(uint32_t word) { return static_cast<uint8_t>(word >> 24); }
};

// What a record is to be made of, before it has a place. Of key and value, `first` and `second` stand in the record
// itself; the rest, if any, is in the chain of fragments.
struct Draft {
  std::string_view first;
  std::string_view second;
  uint32_t keyBytes = 0;
  uint32_t valueBytes = 0;
  uint32_t firstFragment = 0;
  RecordKind kind = RecordKind::ITEM;
  uint8_t encoding = 0;
  Heat heat = 0;
  uint64_t expiresAt = 0;
  Version version;

  bool isBig() const { return keyBytes > UINT8_MAX || firstFragment != 0; }
};

// Where a key belongs.
struct KeyPlace {
  uint64_t hash = 0;
  uint16_t slot = 0;
};

// A record where it stands. Cheap to make; reads through to memory at every call.
class Record {
 public:
  Record() = default;
  Record(const View& view, uint32_t offset) : view_(&view), offset_(offset), at_(view.at(offset)) {}

  uint32_t offset() const { return offset_; }
  RecordHead* head() const { return reinterpret_cast<RecordHead*>(at_); }
  uint32_t word() const { return head()->word; }
  RecordKind kind() const { return Word::kind(word()); }
  bool isBig() const { return (word() & Word::BIG) != 0; }
  bool hasExpiry() const { return (word() & Word::TTL) != 0; }
  uint8_t encoding() const { return Word::encoding(word()); }

  // Bytes taken in the region, rounded to granules.
  uint32_t size() const {
    if (kindOf(word()) == RecordKind::FRAGMENT)
      return view_->rounded(static_cast<uint32_t>(sizeof(FragmentHead)) + Word::payload(word()));
    return view_->rounded(payloadAt() + inlineBytes());
  }

  uint32_t keyBytes() const { return isBig() ? big().keyLength : head()->keyLength; }
  uint32_t valueBytes() const { return isBig() ? big().valueLength : Word::payload(word()); }
  // Only for records that are not BIG: their key and value stand in one piece.
  std::string_view key() const { return {at_ + payloadAt(), head()->keyLength}; }
  std::string_view value() const { return {at_ + payloadAt() + head()->keyLength, Word::payload(word())}; }
  char* valueAt() const { return at_ + payloadAt() + head()->keyLength; }

  uint64_t expiresAt() const {
    if (!hasExpiry()) return 0;
    uint64_t value = 0;
    memcpy(&value, at_ + sizeof(RecordHead), EXPIRY_BYTES);
    return value;
  }
  void setExpiresAt(uint64_t ms) const { memcpy(at_ + sizeof(RecordHead), &ms, EXPIRY_BYTES); }
  bool isExpired(uint64_t nowMs) const {
    const uint64_t at = expiresAt();
    return at != 0 && at <= nowMs;
  }

  Big big() const {
    Big value;
    memcpy(&value, at_ + bigAt(), sizeof value);
    return value;
  }
  void setBig(const Big& value) const { memcpy(at_ + bigAt(), &value, sizeof value); }
  // One store, behind everything before it: the chain is the old one or the new one. The word may stand at an odd
  // place.
  void setFirstFragment(uint32_t offset) const {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    memcpy(at_ + bigAt() + offsetof(Big, firstFragment), &offset, sizeof offset);
  }

  Version version() const;
  // Whether its version's stamp stands where the region's table may, behind this record.
  bool hasStamp() const;
  // True when (epoch, node) could be named in the record's own region; else nothing is written.
  bool setVersion(const Version& version, bool mayIntern) const;

  // The bytes of key and value, wherever they stand: `copy` reads `length` bytes from `from` on, false for a broken
  // chain.
  bool copy(uint32_t from, uint32_t length, char* out) const;
  bool keyEquals(std::string_view key) const;
  KeyPlace place() const;  // computed from the key; a tombstone carries it

  // Whether size, lengths and kind fit into the region at all; nothing is said about their truth.
  static bool plausible(const View& view, uint32_t offset);

  // Bytes a draft will take in a log.
  static uint32_t sizeOf(const View& view, const Draft& draft, bool wide);

  // Writes a draft at `at`. The version's stamp must already be interned as `stamp`.
  static void write(const View& view, char* at, const Draft& draft, uint8_t stamp, uint64_t baseMs, bool wide);

  static bool needsWide(uint64_t baseMs, uint64_t time) {
    const int64_t delta = static_cast<int64_t>((time >> 16) - baseMs);
    return delta > INT32_MAX || delta < INT32_MIN;
  }

  uint32_t inlineBytes() const { return isBig() ? Word::payload(word()) : head()->keyLength + Word::payload(word()); }
  uint32_t payloadAt() const { return wideAt() + ((head()->extra & EXTRA_WIDE) != 0 ? WIDE_BYTES : 0); }

 private:
  static RecordKind kindOf(uint32_t word) { return Word::kind(word); }
  uint32_t bigAt() const { return static_cast<uint32_t>(sizeof(RecordHead)) + (hasExpiry() ? EXPIRY_BYTES : 0); }
  uint32_t wideAt() const { return bigAt() + (isBig() ? static_cast<uint32_t>(sizeof(Big)) : 0); }

  const View* view_ = nullptr;
  uint32_t offset_ = 0;
  char* at_ = nullptr;
};

inline FragmentHead* fragmentAt(const View& view, uint32_t offset) {
  return reinterpret_cast<FragmentHead*>(view.at(offset));
}
inline uint64_t hashOfFragment(const FragmentHead* fragment) {
  return static_cast<uint64_t>(fragment->hashHigh) << 32 | fragment->hashLow;
}
bool fragmentPlausible(const View& view, uint32_t offset);

// Table of (epoch, node) at a region's end. `find` returns its index or -1; `intern` adds, for the region's owner
// alone.
int findStamp(const View& view, uint32_t region, uint32_t epoch, uint16_t node);
int internStamp(const View& view, uint32_t region, uint32_t epoch, uint16_t node, uint32_t headLimit);

}  // namespace henge
