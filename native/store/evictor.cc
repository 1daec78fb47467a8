#include "evictor.h"

namespace henge {

namespace {

// Tombstones are kept until their time, up to this share of the memory; beyond it they go and raise their slot's floor.
constexpr uint64_t TOMBSTONE_SHARE = 32;

uint32_t sizeOfFragment(const View& view, uint32_t offset) {
  return view.rounded(static_cast<uint32_t>(sizeof(FragmentHead)) + Word::payload(fragmentAt(view, offset)->word));
}

}  // namespace

bool Evictor::run(uint64_t nowMs) {
  for (uint32_t i = 0; i < VICTIMS_MAX; i++) {
    if (phase_ == Phase::IDLE && !chooseVictim(nowMs)) return false;
    while (phase_ != Phase::IDLE) {
      if (step(256, nowMs)) return true;
    }
  }
  return false;
}

bool Evictor::step(uint32_t records, uint64_t nowMs) {
  switch (phase_) {
    case Phase::IDLE:
      chooseVictim(nowMs);
      return false;
    case Phase::WEIGHING:
      if (!weigh(records * 4, nowMs)) return false;  // reading is much cheaper than moving
      cut_.decide();
      at_ = REGION_HEAD_BYTES;
      phase_ = Phase::SORTING;
      return false;
    case Phase::SORTING:
      if (!sort(records, nowMs)) return false;
      finish();
      return true;
  }
  return false;
}

// ---- choosing ------------------------------------------------------------------------------------------------------

uint32_t Evictor::sizeAt(uint32_t offset) const {
  return Record::plausible(view_, offset) ? Record(view_, offset).size() : 0;
}

// Without the lock: a guess good enough to choose by. Dead and expired things are worth nothing.
float Evictor::scoreOf(uint32_t offset, uint64_t nowMs) const {
  const Record record(view_, offset);
  if (record.kind() == RecordKind::DEAD) return 0;
  if (record.kind() == RecordKind::FRAGMENT)
    return hashOfFragment(fragmentAt(view_, offset)) == 0 ? 0 : view_.learner->threshold();
  if (record.isExpired(nowMs)) return 0;
  if (record.kind() == RecordKind::TOMBSTONE) return view_.learner->threshold();
  uint32_t bytes = record.size();
  if (record.isBig()) bytes = record.keyBytes() + record.valueBytes();
  return view_.learner->score(record.head()->heat, bytes);
}

float Evictor::worthOf(uint32_t region, float threshold, bool isRandom, uint64_t nowMs) {
  RegionWorth worth(threshold);
  const RegionMeta& meta = view_.regionMetas[region];
  for (uint32_t i = 0; i < CHECKPOINTS; i++) {
    const uint32_t at = meta.checkpoint[i];
    if (at == 0 || at >= view_.geometry.regionBytes) continue;
    const uint32_t offset = view_.offsetOf(view_.region(region) + at);
    const uint32_t bytes = sizeAt(offset);
    if (bytes == 0) continue;
    const float score = scoreOf(offset, nowMs);
    worth.add(score, bytes);
    if (isRandom && score > 0) view_.learner->observe(score);
  }
  return worth.mean();
}

bool Evictor::chooseVictim(uint64_t nowMs) {
  const float threshold = view_.learner->threshold();
  const Pool pool(view_);
  uint32_t best = NO_REGION;
  float bestWorth = 0;
  const auto consider = [&](uint32_t region, bool isRandom) {
    if (region == NO_REGION || !pool.isSealed(region)) return;
    const float worth = worthOf(region, threshold, isRandom, nowMs);
    if (best != NO_REGION && worth >= bestWorth) return;
    best = region;
    bestWorth = worth;
  };
  consider(pool.oldestSealed(LOG_NEW), false);
  consider(pool.oldestSealed(LOG_KEPT), false);
  uint32_t tries = 2 * Learner::VICTIM_RANDOM;
  for (uint32_t drawn = 0; drawn < Learner::VICTIM_RANDOM && tries > 0; tries--) {
    const uint32_t region = random() % view_.regionCount;
    if (!pool.isSealed(region)) continue;
    consider(region, true);
    drawn++;
  }
  if (best == NO_REGION || !Pool(view_).beginEviction(best, locker_.place())) return false;
  victim_ = best;
  at_ = REGION_HEAD_BYTES;
  end_ = view_.regionMetas[best].head;
  if (end_ > view_.geometry.regionBytes) end_ = view_.geometry.regionBytes;
  isBroken_ = view_.regionMetas[best].isBroken != 0;
  cut_ = Cut(threshold);
  phase_ = Phase::WEIGHING;
  return true;
}

// ---- one victim ----------------------------------------------------------------------------------------------------

bool Evictor::weigh(uint32_t records, uint64_t nowMs) {
  for (uint32_t i = 0; i < records && at_ < end_; i++) {
    const uint32_t offset = view_.offsetOf(view_.region(victim_) + at_);
    const uint32_t bytes = sizeAt(offset);
    if (bytes == 0) {
      isBroken_ = true;
      at_ = end_;
      break;
    }
    const bool isFragment = Record(view_, offset).kind() == RecordKind::FRAGMENT;
    cut_.add(isFragment ? scoreOfFragment(offset) : scoreOf(offset, nowMs), bytes);
    at_ += bytes;
  }
  return at_ >= end_;
}

// A fragment is worth what its item is, and nothing without one. Asked under the lock, since the cut holds only if
// sorting finds what was weighed: from a region of fragments that were weighed by a guess everything might be kept, and
// a store of such regions would never have room again.
float Evictor::scoreOfFragment(uint32_t offset) {
  const uint64_t hash = hashOfFragment(fragmentAt(view_, offset));
  if (hash == 0) return 0;
  const uint16_t slot = view_.localSlot(static_cast<uint16_t>(fragmentAt(view_, offset)->slot));
  const uint32_t number = view_.segmentOf(slot);
  Segment* segment = &view_.segments[number];
  if (!locker_.acquire(segment)) return 0;
  Index index(view_, number, locker_.place());
  const Entry entry = index.findLarge(hash, slot);
  uint32_t previous = 0;
  const float score = entry.exists() && ownsFragment(entry, offset, &previous) ? scoreOfLarge(entry) : 0;
  locker_.release(segment);
  return score;
}

float Evictor::scoreOfLarge(const Entry& entry) const {
  const Record owner(view_, entry.offset());
  return view_.learner->score(owner.head()->heat, owner.keyBytes() + owner.valueBytes());
}

// Whether the item's chain leads to the fragment; `previous` is the one before it, 0 if it is the first.
bool Evictor::ownsFragment(const Entry& entry, uint32_t offset, uint32_t* previous) const {
  uint32_t at = Record(view_, entry.offset()).big().firstFragment;
  while (at != 0 && at != offset && fragmentPlausible(view_, at)) {
    *previous = at;
    at = fragmentAt(view_, at)->next;
  }
  return at == offset;
}

bool Evictor::sort(uint32_t records, uint64_t nowMs) {
  constexpr uint32_t BATCH = 8;
  for (uint32_t done = 0; done < records && at_ < end_;) {
    uint32_t offsets[BATCH];
    uint32_t count = 0;
    while (count < BATCH && at_ < end_) {
      const uint32_t offset = view_.offsetOf(view_.region(victim_) + at_);
      const uint32_t bytes = sizeAt(offset);
      if (bytes == 0) {
        isBroken_ = true;
        at_ = end_;
        break;
      }
      offsets[count++] = offset;
      at_ += bytes;
    }
    for (uint32_t i = 0; i < count; i++) sortOne(offsets[i], nowMs);
    done += count;
  }
  return at_ >= end_;
}

void Evictor::sortOne(uint32_t offset, uint64_t nowMs) {
  const Record record(view_, offset);
  switch (record.kind()) {
    case RecordKind::DEAD:
      cut_.drops(0, record.size());
      return;
    case RecordKind::FRAGMENT:
      return sortFragment(offset);
    case RecordKind::ITEM:
    case RecordKind::TOMBSTONE:
      return sortItem(offset, record.place(), nowMs);
  }
}

void Evictor::sortItem(uint32_t offset, const KeyPlace& place, uint64_t nowMs) {
  const uint32_t number = view_.segmentOf(place.slot);
  Segment* segment = &view_.segments[number];
  if (!locker_.acquire(segment)) {
    isBroken_ = true;  // its holder is stuck: the purge at the end comes back for this record
    return;
  }
  Index index(view_, number, locker_.place());
  const Entry entry = index.findOffset(place.hash, place.slot, offset);
  const Record record(view_, offset);
  if (!entry.exists()) {
    cut_.drops(0, record.size());
    // A key that continues in fragments was put together without the lock, perhaps while another worker moved them.
    if (record.kind() == RecordKind::ITEM && record.keyBytes() > record.inlineBytes()) isBroken_ = true;
  } else if (record.kind() == RecordKind::TOMBSTONE) {
    sortTombstone(&index, entry, place, nowMs);
  } else {
    const float score = scoreOf(offset, nowMs);
    const Heat heat = record.head()->heat;
    const bool isKept = !cut_.drops(score, record.size()) && !record.isExpired(nowMs);
    if (!isKept || !relocate(&index, entry, view_.learner->kept(heat))) drop(&index, entry, place, nowMs);
  }
  locker_.release(segment);
}

void Evictor::sortTombstone(Index* index, const Entry& entry, const KeyPlace& place, uint64_t nowMs) {
  const Record record(view_, entry.offset());
  const uint64_t bytesMax = view_.regionArea() / TOMBSTONE_SHARE / view_.geometry.segments;
  const bool isWithinShare = static_cast<uint64_t>(index->segment().tombstones) * record.size() <= bytesMax;
  if (!record.isExpired(nowMs) && isWithinShare && relocate(index, entry, record.head()->heat)) return;
  if (view_.replicated) raiseFloor(view_, place.slot, record.version());
  index->remove(entry);
}

void Evictor::drop(Index* index, const Entry& entry, const KeyPlace& place, uint64_t nowMs) {
  const Record record(view_, entry.offset());
  Counters& counters = view_.counters[locker_.place()];
  if (view_.replicated) rememberVersion(view_, place.hash, place.slot, record.version());
  if (record.isExpired(nowMs)) {
    counters.expirations++;
  } else {
    counters.evictions++;
    Heat displaced = 0;
    index->segment().hasGhosts = 1;
    if (view_.ghostsOf(view_.segmentOf(place.slot)).put(place.hash, record.head()->heat, &displaced))
      view_.learner->lost(displaced);
  }
  index->remove(entry);
}

// A copy in this worker's own log, under the segment's lock; the entry then points to it. False: no room was to be had.
bool Evictor::relocate(Index* index, const Entry& entry, Heat heat) {
  const Record from(view_, entry.offset());
  const Version version = from.version();
  const uint32_t bytes = from.size();
  Log& log = Learner::isNew(heat) ? new_ : kept_;
  if (!log.hasRoom(bytes) && !log.turn(0)) return false;
  const bool isWide = (from.head()->extra & EXTRA_WIDE) != 0;
  if (!isWide && Record::needsWide(log.baseMs(), version.time))
    return false;  // an item of 24 days that nobody wrote since
  if (log.intern(version.epoch, version.node, bytes) < 0) return false;
  memcpy(log.headAt(), view_.at(entry.offset()), bytes);
  const Record to(view_, view_.offsetOf(log.headAt()));
  to.setVersion(version, true);
  to.head()->heat = heat;
  const uint32_t old = entry.offset();
  index->relocate(entry, log.commit(bytes));
  view_.counters[locker_.place()].keptBytes += bytes;
  Record(view_, old).head()->word = Word::withKind(from.word(), RecordKind::DEAD);
  return true;
}

// A large item lives or goes as a whole, by the worth of its head; a fragment of a living one is copied and linked
// anew.
void Evictor::sortFragment(uint32_t offset) {
  const uint64_t hash = hashOfFragment(fragmentAt(view_, offset));
  const uint32_t bytes = sizeOfFragment(view_, offset);
  if (hash == 0) {
    cut_.drops(0, bytes);
    return;
  }
  const uint16_t slot = view_.localSlot(static_cast<uint16_t>(fragmentAt(view_, offset)->slot));
  const uint32_t number = view_.segmentOf(slot);
  Segment* segment = &view_.segments[number];
  if (!locker_.acquire(segment)) {
    isBroken_ = true;
    return;
  }
  Index index(view_, number, locker_.place());
  const Entry entry = index.findLarge(hash, slot);
  uint32_t previous = 0;
  if (entry.exists() && ownsFragment(entry, offset, &previous)) {
    const bool isKept = !cut_.drops(scoreOfLarge(entry), bytes) && (kept_.hasRoom(bytes) || kept_.turn(0));
    if (isKept) {
      moveFragment(entry, offset, previous);
    } else {
      drop(&index, entry, KeyPlace{hash, slot}, nowMs(view_));
    }
  } else {
    cut_.drops(0, bytes);
  }
  locker_.release(segment);
}

void Evictor::moveFragment(const Entry& entry, uint32_t offset, uint32_t previous) {
  const uint32_t bytes = sizeOfFragment(view_, offset);
  memcpy(kept_.headAt(), view_.at(offset), bytes);
  const uint32_t copy = kept_.commit(bytes);
  if (previous != 0) {
    publish(&fragmentAt(view_, previous)->next, copy);
  } else {
    Record(view_, entry.offset()).setFirstFragment(copy);
  }
}

// ---- the end of a victim -------------------------------------------------------------------------------------------

void Evictor::finish() {
  if (isBroken_) purge();
  Pool(view_).release(victim_);
  view_.counters[locker_.place()].evictedRegions++;
  victim_ = NO_REGION;
  phase_ = Phase::IDLE;
  uint64_t items = 0;
  for (uint32_t i = 0; i < view_.geometry.segments; i += 16) items += view_.segments[i].items;
  const uint64_t estimate = items * (view_.geometry.segments < 16 ? 1 : 16);
  if (view_.learner->relearnDue(estimate)) relearn();
}

// A region that cannot be walked to its end may still be pointed into. Cold path, after damage only: every segment is
// asked.
void Evictor::purge() {
  view_.counters[locker_.place()].purges++;
  for (uint32_t i = 0; i < view_.geometry.segments; i++) {
    Segment* segment = &view_.segments[i];
    while (!locker_.acquire(segment)) {
    }
    Index index(view_, i, locker_.place());
    for (uint32_t b = 0; b < segment->pages << view_.pageShift; b++) {
      Bucket* bucket = index.bucket(b);
      for (uint32_t at = 0; at < ENTRIES; at++) {
        if (bucket->offset[at] == 0) continue;
        const Record record(view_, bucket->offset[at]);
        bool isInside = view_.regionOf(bucket->offset[at]) == victim_;
        uint32_t fragment = record.isBig() ? record.big().firstFragment : 0;
        while (fragment != 0 && fragmentPlausible(view_, fragment)) {
          isInside = isInside || view_.regionOf(fragment) == victim_;
          fragment = fragmentAt(view_, fragment)->next;
        }
        if (isInside) index.remove(Entry{bucket, at});
      }
    }
    locker_.release(segment);
  }
}

void Evictor::relearn() {
  Heat living[Learner::LIVING_SAMPLES];
  size_t count = 0;
  uint64_t items = 0;
  for (uint32_t i = 0; i < view_.geometry.segments; i++) items += view_.segments[i].items;
  for (uint32_t tries = 0; tries < 4 * Learner::LIVING_SAMPLES && count < Learner::LIVING_SAMPLES; tries++) {
    const uint32_t number = random() % view_.geometry.segments;
    Segment* segment = &view_.segments[number];
    if (!locker_.acquire(segment)) continue;
    const Bucket* bucket = Index(view_, number, locker_.place()).bucket(random() % segment->buckets);
    const uint32_t offset = bucket->offset[random() % ENTRIES];
    if (offset != 0) living[count++] = Record(view_, offset).head()->heat;
    locker_.release(segment);
  }
  view_.learner->relearn(living, count, items);
}

void Evictor::rememberVersion(View& view, uint64_t hash, uint16_t slot, const Version& version) {
  const uint32_t segment = view.segmentOf(slot);
  view.segments[segment].hasVersionGhosts = 1;
  VersionGhosts::Entry displaced;
  if (view.versionGhostsOf(segment).put(hash, version, slot, &displaced))
    raiseFloor(view, displaced.slot, displaced.version());
}

void Evictor::raiseFloor(View& view, uint16_t slot, const Version& version) {
  Slot& word = view.slots[view.localSlot(slot)];
  const Version floor{word.floorEpoch, word.floorTime, word.floorNode};
  if (!(floor < version)) return;
  word.floorEpoch = version.epoch;
  word.floorTime = version.time;
  word.floorNode = version.node;
}

}  // namespace henge
