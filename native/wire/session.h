// Runs what a worker's connections send: chunk of bytes in, answers out, in the order of the requests.
//
//   bytes ─▶ parser ─▶ Operation ×16 ─▶ Worker::prepare ─▶ Worker::execute ─▶ encoder ─▶ output
//                  │                                              └─▶ Leader ─▶ outboxes of links
//                  ├─▶ control frames, queued for JavaScript
//                  ├─▶ frames of other nodes ─▶ Follower
//   links' bytes ──┴─▶ answers ─▶ Leader ─▶ outboxes of those who waited for them
//
// No socket, no event loop and no clock of its own: the same code runs under the addon, the tests and the fuzzer.
// Sixteen operations at a time are parsed before the first is run, so that the store can fetch the memory of all from
// behind the caches at once. A chunk ends early, with MORE, when the output cannot hold the largest answer any more, or
// when it asked for more walks than is fair to the other connections.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "../store/worker.h"
#include "connection.h"
#include "encoder.h"
#include "follower.h"
#include "leader.h"
#include "parser.h"

namespace henge {

namespace OutputFlag {
constexpr uint32_t MORE = 1;     // frames are held back: write the output, then execute the connection with no bytes
constexpr uint32_t CONTROL = 2;  // takeControl() or takeAnswers() has something
constexpr uint32_t CLOSE = 4;    // write the output, then close the connection
constexpr uint32_t OTHERS = 8;   // nextOutput() has something
constexpr uint32_t BEHIND = 16;  // the other node is in a newer epoch; what it sent is held until that is installed
}  // namespace OutputFlag

// A frame that JavaScript answers. Owns its bytes.
struct ControlFrame {
  int32_t connection;
  uint16_t node;  // 0: not a node's
  uint32_t requestId;
  protocol::Opcode opcode;
  uint8_t flags;
  uint16_t deadlineMs;
  std::string extras;
  std::string key;
  std::string value;
};

struct Outcome {
  size_t bytes;         // written to the output
  uint32_t flags;       // OutputFlag
  uint32_t epochAhead;  // with BEHIND: the other node's
};

class Session {
 public:
  // Nanoseconds of a clock that never goes back.
  using Clock = std::function<uint64_t()>;

  // Operations prepared together: 8 to 16 is where prefetching pays most, 64 is worse.
  static constexpr size_t BATCH = 16;
  // Answers that fit into the output before it is written, when they are small.
  static constexpr size_t ANSWERS_BYTES = 256 * 1024;
  // Kept free for the last acknowledgement of a chunk, and for the sentence with which a connection is broken off.
  static constexpr size_t LAST_WORDS_BYTES = 2 * protocol::RESPONSE_HEADER_BYTES + sizeof(Sentence::text);
  // Steps of SCAN and CLEAR in one execute: each may take as long as thousands of reads.
  static constexpr uint32_t WALKS_MAX = 4;
  // JavaScript takes them after every execute, so a few suffice for all honest traffic; what is beyond is BUSY.
  static constexpr size_t CONTROL_FRAMES_MAX = 64;
  // Bytes that a connection may send behind its HELLO before that is answered: some chunks of a socket.
  static constexpr size_t WAITING_BYTES_MAX = 256 * 1024;
  // Chunks that may arrive while MORE is pending: a socket that was paused delivers at most what was under way.
  static constexpr size_t HELD_BYTES_MAX = 4 * 1024 * 1024;
  // The same of another node, whose frames wait for an epoch: all that it may have under way.
  static constexpr size_t PEER_HELD_BYTES_MAX = HELD_BYTES_MAX + Link::UNANSWERED_BYTES_MAX;
  // All backlogs of a worker together. A thousand connections that each begin a large value and stop must not take the
  // machine's memory.
  static constexpr size_t BACKLOG_BYTES_MAX = 256 * 1024 * 1024;

  Session(Worker& worker, uint32_t valueBytesMax, Clock clock);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // -1 when the table is full.
  int32_t connect() { return connections_.add(); }
  bool isConnected(int32_t connection) { return connections_.find(connection) != nullptr; }
  // The hello was accepted; `node` is the number of a peer that gave one. Frames that came behind it wait for
  // execute(connection, nothing).
  void greet(int32_t connection, uint8_t role, uint16_t node = 0);
  // Forgets the connection, its backlog and its control frames. The end of a link owes others their answers: flags().
  void disconnect(int32_t connection);

  // A connection that we opened, and on which another node greeted us, is the link to it: what comes are answers.
  // False: there is a link to that node already, or no room for one, or bytes came on the connection before.
  bool linkUp(int32_t connection, uint16_t node);
  bool isLink(int32_t connection);
  // See Leader::request.
  uint32_t request(int32_t link, std::string frame) { return leader_.request(link, std::move(frame)); }
  std::vector<LinkAnswer> takeAnswers() { return leader_.takeAnswers(); }
  size_t requestBytesMax() const { return frameBytesMax_; }

  // The least room that execute() is to be given: one largest answer, and ANSWERS_BYTES besides.
  size_t outputBytesMin() const { return ANSWERS_BYTES + frameBytesMax_ + LAST_WORDS_BYTES; }

  // Takes `input` as the connection's next bytes and runs every complete frame. The connection must exist.
  // HOT: 16 operations at a time; allocates only to keep a frame that was cut by the end of the chunk.
  Outcome execute(int32_t connection, std::string_view input, Output output);

  std::vector<ControlFrame> takeControl();

  // Puts whole frames that a connection is owed into the output, as large as for execute(), and returns its number; -1
  // when nobody is owed anything.
  int32_t nextOutput(Output output, size_t* bytes);

  // Once every 100 ms or so: the store's background work, and requests that have waited too long.
  void tick();
  // What stands to be fetched beside outputs: CONTROL and OTHERS.
  uint32_t flags() const;

 private:
  std::string_view runBacklog(std::string_view input);
  size_t run(std::string_view bytes) {
    return connection_->state == Connection::State::LINK ? runReplies(bytes) : runRequests(bytes);
  }
  size_t runRequests(std::string_view bytes);
  size_t runReplies(std::string_view bytes);
  size_t runOperations(size_t count);
  size_t runReplicated(size_t count);
  void runReplicatedOperation(size_t index);
  bool runPeers(size_t index);
  bool runOther(size_t index, const Sentence& sentence);
  void runWalk(const Request& request, std::string_view prefix);
  void queueControl(const Request& request, const Operation& operation);
  void breakOff(uint32_t requestId, protocol::Status status, std::string_view sentence);
  void keep(std::string_view rest);
  void refuseExcess(size_t bytes, size_t added);
  void account(uint64_t beganNs, size_t inputBytes, size_t outputBytes);
  void countRequest() {
    worker_.counters().framesIn++;
    worker_.counters().requests++;
  }
  bool hasRoom() const { return static_cast<size_t>(end_ - out_) >= frameBytesMax_; }
  bool mayGoOn() const {
    return (flags_ & (OutputFlag::MORE | OutputFlag::CLOSE | OutputFlag::BEHIND)) == 0 && connection_->mayRun();
  }
  bool hasExpired(size_t index) const;

  Worker& worker_;
  const size_t frameBytesMax_;  // of requests, and of answers too: HELLO's answer promises it
  const bool isReplicated_;
  const Clock clock_;
  ConnectionTable connections_;
  Owed owed_;
  Leader leader_;
  Follower follower_;
  size_t backlogBytes_ = 0;
  std::vector<ControlFrame> control_;

  // The chunk in hand.
  Connection* connection_ = nullptr;
  int32_t number_ = -1;
  char* out_ = nullptr;
  char* end_ = nullptr;
  uint32_t flags_ = 0;
  uint32_t walks_ = 0;
  uint64_t nowMs_ = 0;

  std::array<Request, BATCH> requests_;
  std::array<Operation, BATCH> operations_;
  std::array<size_t, BATCH> frameEnds_;  // offsets behind each frame, in the bytes given to run()
};

}  // namespace henge
