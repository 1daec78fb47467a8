// The part of a scrub that concerns other nodes: rows, peers and rings of a memory whose last users died.
//
// After one worker's death all of it still holds, but for one bit whose version may not be noted. After an unclean stop
// of everything nothing of what is known about others is believed, and what is not well-formed is taken out.
#pragma once

#include "view.h"

namespace henge {

// Under the segment's lock, after a death. `hasLost`: entries were taken out.
void scrubCopies(View& view, uint32_t segment, bool hasLost);

// Nobody else attached.
void scrubAllCopies(View& view);

}  // namespace henge
