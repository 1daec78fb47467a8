// Latencies in nanoseconds, counted in log-linear buckets: 128 per power of two, so a percentile is off by under 1 %.
// The idea is Gil Tene's HdrHistogram; this has the fixed size and the three operations that a load generator needs.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace henge::bench {

class Histogram {
 public:
  void add(uint64_t value) {
    counts_[bucketOf(value)]++;
    total_++;
    max_ = std::max(max_, value);
  }

  // The value that `share` (0 to 1) of all values do not exceed; 0 when nothing was counted.
  uint64_t percentile(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
      seen += counts_[bucket];
      if (seen > 0 && seen >= wanted) return std::min(highestIn(bucket), max_);
    }
    return max_;
  }

  uint64_t max() const { return max_; }

 private:
  static constexpr unsigned SUB_BITS = 7;
  static constexpr size_t BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS;

  // Below 2^SUB_BITS a bucket per value; above, the leading one's place and the SUB_BITS after it.
  static size_t bucketOf(uint64_t value) {
    if (value < (1U << SUB_BITS)) return static_cast<size_t>(value);
    const unsigned shift = 63 - static_cast<unsigned>(__builtin_clzll(value)) - SUB_BITS;
    return (static_cast<size_t>(shift) << SUB_BITS) + static_cast<size_t>(value >> shift);
  }

  static uint64_t highestIn(size_t bucket) {
    if (bucket < (2U << SUB_BITS)) return bucket;
    const unsigned shift = static_cast<unsigned>(bucket >> SUB_BITS) - 1;
    const uint64_t mantissa = bucket - (static_cast<size_t>(shift) << SUB_BITS);
    return ((mantissa + 1) << shift) - 1;
  }

  std::array<uint64_t, BUCKETS> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace henge::bench
