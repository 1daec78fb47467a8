// Choosing an arena's shape and writing down what never changes about it: twice, each copy with its checksum.
#pragma once

#include <string>

#include "memory.h"

namespace henge {

// False and *failure when the options make no store.
bool makeConstants(const MemoryOptions& options, Constants* constants, Failure* failure);
// Whether memory made with these constants serves these options; a larger or smaller arena is made anew.
bool sameShape(const MemoryOptions& options, const Constants& constants);

void writeConstants(char* base, const Constants& constants);
// Reads whichever copy is whole. False: neither.
bool readConstants(const char* base, uint64_t bytes, Constants* constants);
bool isAllZero(const char* base, uint64_t bytes);
// Says that the memory belongs to this boot of the machine.
void stampBoot(Constants* constants);
std::string bootId();

}  // namespace henge
