#include "item_record.h"

#include <cstring>

#include "../wire/bytes.h"

namespace henge {

namespace {

// Returns the place behind what was read.
template <typename T>
const char* take(const char* at, T* value) {
  *value = load<T>(at);
  return at + sizeof *value;
}

// Only an item has a key and a value.
bool isWellFormed(const Item& item) {
  if (item.slot >= protocol::SLOTS) return false;
  if (item.kind == protocol::ItemKind::ITEM) return !item.key.empty();
  const bool isKnown = item.kind == protocol::ItemKind::TOMBSTONE || item.kind == protocol::ItemKind::FLOOR ||
                       item.kind == protocol::ItemKind::GHOST;
  return isKnown && item.key.empty() && item.value.empty();
}

}  // namespace

size_t encodeItemRecord(char* out, const Item& item) {
  char* at = store(out, static_cast<uint32_t>(itemRecordBytes(item)));
  at = store(at, item.kind);
  at = store(at, item.encoding);
  at = store(at, item.slot);
  at = store(at, item.version.time);
  at = store(at, item.version.epoch);
  at = store(at, item.version.node);
  at = store(at, item.heat);
  at = store(at, item.expiresAt);
  at = store(at, item.hash);
  at = store(at, static_cast<uint16_t>(item.key.size()));
  at = store(at, uint16_t{0});
  if (!item.key.empty()) memcpy(at, item.key.data(), item.key.size());
  if (!item.value.empty()) memcpy(at + item.key.size(), item.value.data(), item.value.size());
  return itemRecordBytes(item);
}

bool decodeItemRecord(std::string_view* bytes, Item* item) {
  if (bytes->size() < protocol::ITEM_RECORD_BYTES) return false;
  uint32_t length = 0;
  uint16_t keyBytes = 0;
  const char* at = take(bytes->data(), &length);
  at = take(at, &item->kind);
  at = take(at, &item->encoding);
  at = take(at, &item->slot);
  at = take(at, &item->version.time);
  at = take(at, &item->version.epoch);
  at = take(at, &item->version.node);
  at = take(at, &item->heat);
  at = take(at, &item->expiresAt);
  at = take(at, &item->hash);
  take(at, &keyBytes);
  if (length > bytes->size() || length < protocol::ITEM_RECORD_BYTES + uint32_t{keyBytes}) return false;
  item->key = bytes->substr(protocol::ITEM_RECORD_BYTES, keyBytes);
  item->value = bytes->substr(protocol::ITEM_RECORD_BYTES + keyBytes, length - protocol::ITEM_RECORD_BYTES - keyBytes);
  bytes->remove_prefix(length);
  return isWellFormed(*item);
}

size_t encodeReplicateExtras(char* out, const Written& written) {
  char* at = store(out, written.epoch);
  at = store(at, written.slot);
  at = store(at, written.kind);
  at = store(at, uint8_t{0});
  at = store(at, written.version.time);
  at = store(at, written.version.epoch);
  at = store(at, written.version.node);
  at = store(at, written.heat);
  at = store(at, written.expiresAt);
  at = store(at, written.kind == protocol::ItemKind::TOMBSTONE ? written.hash : uint64_t{0});
  if (written.kind == protocol::ItemKind::EXPIRY) {
    at = store(at, written.base.time);
    at = store(at, written.base.epoch);
    at = store(at, written.base.node);
    at = store(at, uint16_t{0});
  }
  return static_cast<size_t>(at - out);
}

bool decodeReplicateExtras(std::string_view extras, ReplicateExtras* head, Item* item) {
  if (extras.size() < protocol::REPLICATE_BYTES) return false;
  uint8_t zero = 0;
  const char* at = take(extras.data(), &head->epoch);
  at = take(at, &item->slot);
  at = take(at, &item->kind);
  at = take(at, &zero);
  at = take(at, &item->version.time);
  at = take(at, &item->version.epoch);
  at = take(at, &item->version.node);
  at = take(at, &item->heat);
  at = take(at, &item->expiresAt);
  at = take(at, &item->hash);
  head->hasBase = item->kind == protocol::ItemKind::EXPIRY;
  if (head->hasBase && extras.size() == REPLICATE_EXTRAS_MAX) {
    at = take(at, &head->base.time);
    at = take(at, &head->base.epoch);
    take(at, &head->base.node);
  }
  return item->kind <= protocol::ItemKind::EXPIRY && item->slot < protocol::SLOTS &&
         extras.size() == (head->hasBase ? REPLICATE_EXTRAS_MAX : protocol::REPLICATE_BYTES);
}

}  // namespace henge
