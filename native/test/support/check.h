// What native tests are written with: TEST(name) { CHECK(cond); } and, once per program, TEST_MAIN.
//
// A failed CHECK prints its place and condition and ends its test only. Randomness comes from Random, whose seed is
// HENGE_SEED or drawn at start, and is printed whenever a test fails. The last line is `N passed, N failed`; the exit
// status is 1 if any failed.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace check {

struct Failed {};

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

inline uint64_t seed() {
  static const uint64_t chosen = [] {
    if (const char* given = std::getenv("HENGE_SEED")) return static_cast<uint64_t>(std::strtoull(given, nullptr, 10));
    return static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  }();
  return chosen;
}

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
class Random {
 public:
  explicit Random(uint64_t state = seed()) : state_(state) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  uint32_t word() { return static_cast<uint32_t>(next() >> 32); }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(static_cast<uint64_t>(word()) * limit >> 32); }

 private:
  uint64_t state_;
};

inline int runAll() {
  uint32_t passed = 0;
  uint32_t failed = 0;
  for (const Test& test : tests()) {
    try {
      test.body();
      ++passed;
    } catch (const Failed&) {
      ++failed;
      std::printf("FAILED  %s  (HENGE_SEED=%llu)\n", test.name, static_cast<unsigned long long>(seed()));
    }
  }
  std::printf("%u passed, %u failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)

#define TEST(name)                                                                                            \
  static void CHECK_JOIN(testBody, __LINE__)();                                                               \
  static const check::Registration CHECK_JOIN(testOf, __LINE__)(name, CHECK_JOIN(testBody, __LINE__));        \
  static void CHECK_JOIN(testBody, __LINE__)()

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);  \
      throw check::Failed{};                                               \
    }                                                                      \
  } while (false)

#define TEST_MAIN \
  int main() { return check::runAll(); }
