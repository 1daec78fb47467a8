// The leader's half of replication: this worker's links to the other nodes, what goes out on them, and the requests
// that wait for what comes back.
//
//   write ─▶ Worker::execute pushes it into the rings of the row's links, under the lock
//         ─▶ a REPLICATE for each of them, in the same order ─▶ OK pops it from the ring, anything else makes it missed
//   `quorum`, `all`: the answer waits in the pending table until enough of those said OK
//   quorum read: QUERY asks the row which version it has; the answer waits until enough have it, and is read anew when
//   one of them has a newer one
//
// The rings in shared memory and the queues of the links hold the same writes in the same order: that is how another
// process knows, after this one's death, what may not have arrived. No socket here: frames go to outboxes.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../store/worker.h"
#include "connection.h"
#include "link.h"
#include "pending.h"
#include "requests.h"

namespace henge {

// Who asked, and until when the answer is of use.
struct Asker {
  int32_t connection;
  uint32_t requestId;
  uint64_t deadlineMs;
};

class Leader {
 public:
  // How long a request waits for other nodes when it does not say.
  static constexpr uint64_t WAIT_MS = 5'000;

  Leader(Worker& worker, Owed& owed, size_t frameBytesMax);

  // ---- links ----

  // False: there is one to that node already, or no room for more.
  bool linkUp(int32_t connection, uint16_t node);
  // Whatever is under way was not answered.
  void linkDown(int32_t connection);
  bool isLink(int32_t connection) { return linkOf(connection) != nullptr; }
  // A request of JavaScript's, whose id is filled in and returned; 0: too many are under way.
  uint32_t request(int32_t connection, std::string frame);
  std::vector<LinkAnswer> takeAnswers();
  bool hasAnswers() const { return !answers_.empty(); }
  // An answer that came on a link. False: it answers nothing that was asked. HOT: once a chunk of writes.
  bool hear(int32_t connection, const Reply& reply);
  // The newest epoch that an answer named, if it is not installed here; else 0.
  uint32_t epochAhead() const;

  // ---- requests ----

  // Acknowledgements of other nodes that an operation needs before it is answered.
  uint8_t votesFor(const Operation& operation) const;
  bool isFull() const { return pendings_.isFull(); }
  // Sends the worker's last write to the copies. True: its answer was put by, and is sent when enough have it.
  bool write(const Asker& asker, const Operation& operation, std::string_view answer);
  // Sends a write that nobody waits for. HOT: once a write and copy.
  void send(const Written& written, uint64_t ticket = 0);
  // Puts by the answer of a quorum read that the worker just ran, until enough copies have what it says.
  void read(const Asker& asker, const Operation& operation, const Answer& answer, std::string_view encoded);

  // Ends what has waited too long, or whose slot is not led any more. Cheap when nothing waits: once a chunk.
  void look(uint64_t nowMs);

 private:
  // How often a quorum read begins anew because a copy has something newer, and how many of its copies a write is sent
  // to again because they were in an epoch that was not here yet.
  static constexpr uint8_t ROUNDS_MAX = 4;

  // A write that a copy did not take, for it was in a newer epoch than this node.
  struct Early {
    int32_t connection;
    uint64_t ticket;
    uint32_t epoch;
  };

  Link* linkOf(int32_t connection);
  void hearWrite(Link& link, const UnderWay& request, const Reply& reply);
  void hearEarly(const Link& link, uint64_t ticket, uint32_t epoch);
  void sendEarlyAgain();
  template <typename IsMeant>
  std::vector<Early> takeEarly(IsMeant isMeant);
  void hearQuery(Link& link, const UnderWay& request, const Reply& reply);
  void sendAgain(Link& link, uint64_t ticket);
  void mergeNewer(Link& link, uint64_t ticket, std::string_view record);
  void readAgain(uint64_t ticket);
  void beginRead(Pending pending, const Answer& answer);
  void sendTo(Link& link, const Written& written, uint64_t ticket);
  void vote(uint64_t ticket, bool isFor);
  void settle(const Pending& pending, std::string_view answer);
  void fail(const Pending& pending);
  void weigh(Link& link);

  Worker& worker_;
  Owed& owed_;
  const size_t frameBytesMax_;
  const bool isReplicated_;
  std::array<std::unique_ptr<Link>, PEERS_MAX> links_;  // by the worker's handle
  std::vector<LinkAnswer> answers_;
  PendingTable pendings_;
  std::vector<Early> early_;  // as many as votes of open ballots, at most
  uint32_t epoch_ = 0;       // at the last look
  uint32_t epochHeard_ = 0;  // the newest that a STALE named
  std::unique_ptr<char[]> scratch_;  // one answer: made when a read first begins anew
};

}  // namespace henge
