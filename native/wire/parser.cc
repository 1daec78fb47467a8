#include "parser.h"

#include <array>
#include <cstdarg>
#include <cstdio>

#include "bytes.h"

namespace henge {

namespace {

using protocol::Opcode;
using Kind = Request::Kind;
namespace Flag = protocol::RequestFlag;

constexpr size_t LENGTH_BYTES = 4;
constexpr size_t TTL_BYTES = 8;

enum class Part : uint8_t { NEVER, MAYBE, ALWAYS };

// What a frame of an opcode looks like.
struct Shape {
  bool isKnown = false;
  Kind kind = Kind::BROKEN;
  uint8_t extrasBytes = 0;  // and VERSION_BYTES more with IF_VERSION, where that is heeded
  Part key = Part::NEVER;
  Part value = Part::NEVER;
  uint8_t flags = 0;        // those heeded; the rest are taken for 0
};

constexpr size_t OPCODES = 0x49;  // the highest in use, and one

constexpr std::array<Shape, OPCODES> makeShapes() {
  std::array<Shape, OPCODES> shapes{};
  const auto set = [&shapes](Opcode opcode, Shape shape) {
    shape.isKnown = true;
    shapes[static_cast<size_t>(opcode)] = shape;
  };
  constexpr uint8_t WRITE = Flag::LEVEL_MASK | Flag::WANT_META;
  constexpr uint8_t READ = Flag::LEVEL_MASK | Flag::WANT_META | Flag::NO_VALUE;
  constexpr uint8_t SET = WRITE | Flag::IF_ABSENT | Flag::IF_VERSION | Flag::KEEP_TTL;
  //                           kind          extras  key           value
  set(Opcode::NOOP,      {true, Kind::NOOP,       0, Part::NEVER,  Part::NEVER, 0});
  set(Opcode::GET,       {true, Kind::OPERATION,  0, Part::ALWAYS, Part::NEVER, READ});
  set(Opcode::SET,       {true, Kind::OPERATION,  8, Part::ALWAYS, Part::MAYBE, SET});
  set(Opcode::DELETE,    {true, Kind::OPERATION,  0, Part::ALWAYS, Part::NEVER, WRITE | Flag::IF_VERSION});
  set(Opcode::TOUCH,     {true, Kind::OPERATION,  8, Part::ALWAYS, Part::NEVER, WRITE});
  set(Opcode::INCREMENT, {true, Kind::OPERATION, 24, Part::ALWAYS, Part::NEVER, WRITE | Flag::NO_CREATE});
  set(Opcode::APPEND,    {true, Kind::OPERATION,  8, Part::ALWAYS, Part::MAYBE, WRITE | Flag::NO_CREATE});
  set(Opcode::SCAN,      {true, Kind::SCAN,      10, Part::MAYBE,  Part::NEVER, 0});
  set(Opcode::CLEAR,     {true, Kind::CLEAR,     16, Part::MAYBE,  Part::NEVER, 0});
  set(Opcode::HELLO,     {true, Kind::CONTROL, protocol::HELLO_BYTES, Part::MAYBE, Part::MAYBE, 0});
  set(Opcode::TOPOLOGY,  {true, Kind::CONTROL,    0, Part::NEVER,  Part::NEVER, 0});
  set(Opcode::SUBSCRIBE, {true, Kind::CONTROL,    0, Part::NEVER,  Part::NEVER, 0});
  set(Opcode::STATS,     {true, Kind::CONTROL,    0, Part::NEVER,  Part::NEVER, 0});
  set(Opcode::AUTHENTICATE, {true, Kind::CONTROL, 0, Part::NEVER,  Part::MAYBE, 0});
  set(Opcode::REPLICATE, {true, Kind::REPLICATE, protocol::REPLICATE_BYTES, Part::MAYBE, Part::MAYBE, 0});
  set(Opcode::ITEMS,     {true, Kind::ITEMS,      4, Part::NEVER,  Part::MAYBE, 0});
  set(Opcode::QUERY,     {true, Kind::QUERY,     24, Part::ALWAYS, Part::NEVER, 0});
  set(Opcode::HEARTBEAT, {true, Kind::CONTROL,   24, Part::MAYBE,  Part::NEVER, 0});
  set(Opcode::SYNCED,    {true, Kind::CONTROL,    4, Part::NEVER,  Part::MAYBE, 0});
  set(Opcode::HANDOVER,  {true, Kind::CONTROL,   4,  Part::NEVER,  Part::MAYBE, 0});
  set(Opcode::PULL,      {true, Kind::CONTROL,   16, Part::NEVER,  Part::MAYBE, 0});
  set(Opcode::PROBE,     {true, Kind::CONTROL,    0, Part::NEVER,  Part::NEVER, 0});
  set(Opcode::DIGESTS,   {true, Kind::CONTROL,    4, Part::NEVER,  Part::MAYBE, 0});
  return shapes;
}

constexpr std::array<Shape, OPCODES> SHAPES = makeShapes();

// The header as it came.
struct Header {
  explicit Header(const char* at)
      : length(load<uint32_t>(at)), opcode(load<uint8_t>(at + 4)), flags(load<uint8_t>(at + 5)),
        deadlineMs(load<uint16_t>(at + 6)), id(load<uint32_t>(at + 8)), keyBytes(load<uint16_t>(at + 12)),
        extrasBytes(load<uint8_t>(at + 14)), encoding(load<uint8_t>(at + 15)) {}

  size_t frameBytes() const { return LENGTH_BYTES + length; }
  size_t partsBytes() const { return protocol::REQUEST_HEADER_BYTES + size_t{extrasBytes} + keyBytes; }

  uint32_t length;
  uint8_t opcode;
  uint8_t flags;
  uint16_t deadlineMs;
  uint32_t id;
  uint16_t keyBytes;
  uint8_t extrasBytes;
  uint8_t encoding;
};

__attribute__((format(printf, 2, 3))) void say(Sentence* sentence, const char* format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(sentence->text, sizeof sentence->text, format, values);
  va_end(values);
}

bool isLengthPossible(uint32_t length, const Gate& gate) {
  return length >= protocol::REQUEST_HEADER_BYTES - LENGTH_BYTES && length <= gate.frameBytesMax - LENGTH_BYTES;
}

// The sentence for an opcode that is out of turn.
bool isInTurn(uint8_t opcode, const Gate& gate, Sentence* sentence) {
  const bool isHello = opcode == static_cast<uint8_t>(Opcode::HELLO);
  const bool isProof = opcode == static_cast<uint8_t>(Opcode::AUTHENTICATE);
  switch (gate.expects) {
    case Gate::Expects::HELLO:
      if (isHello) return true;
      say(sentence, "A connection begins with HELLO, not with opcode 0x%02x", opcode);
      return false;
    case Gate::Expects::PROOF:
      if (isProof) return true;
      say(sentence, "A node's HELLO is followed by AUTHENTICATE, not by opcode 0x%02x", opcode);
      return false;
    case Gate::Expects::REQUESTS:
      break;
  }
  if (!isHello && !isProof) return true;
  say(sentence, isHello ? "HELLO was said already" : "AUTHENTICATE belongs behind a node's HELLO");
  return false;
}

// The shape of a header's opcode; nullptr, with *kind and a sentence, when the connection may not send it.
const Shape* admit(const Header& header, const Gate& gate, Kind* kind, Sentence* sentence) {
  *kind = Kind::BROKEN;
  if (header.id == 0) {
    say(sentence, "Request id 0 belongs to the server; count from 1");
    return nullptr;
  }
  if (!isInTurn(header.opcode, gate, sentence)) return nullptr;
  if (header.opcode >= PEER_OPCODES && !gate.isPeer) {
    *kind = Kind::REFUSED;
    say(sentence, "Opcode 0x%02x is for the nodes of the cluster only", header.opcode);
    return nullptr;
  }
  if (header.opcode >= OPCODES || !SHAPES[header.opcode].isKnown) {
    say(sentence, "Opcode 0x%02x is not in version %u of the protocol", header.opcode, protocol::PROTOCOL_VERSION);
    return nullptr;
  }
  return &SHAPES[header.opcode];
}

// True if the header's lengths are those of its opcode.
bool fits(const Header& header, const Shape& shape, Sentence* sentence) {
  bool hasVersion = (header.flags & shape.flags & Flag::IF_VERSION) != 0;
  // Of a REPLICATE its kind decides, which stands in the extras: readReplicate() looks.
  if (shape.kind == Kind::REPLICATE) hasVersion = header.extrasBytes > shape.extrasBytes;
  const size_t extrasBytes = shape.extrasBytes + (hasVersion ? protocol::VERSION_BYTES : 0);
  if (header.extrasBytes != extrasBytes) {
    say(sentence, "Opcode 0x%02x with flags 0x%02x has %zu bytes of extras, not %u", header.opcode, header.flags,
        extrasBytes, header.extrasBytes);
    return false;
  }
  if (header.frameBytes() < header.partsBytes()) {
    say(sentence, "Extras and key need %zu bytes, but the frame has %zu", header.partsBytes(), header.frameBytes());
    return false;
  }
  if (shape.key == Part::ALWAYS && header.keyBytes == 0) {
    say(sentence, "Opcode 0x%02x needs a key of 1 to %u bytes", header.opcode, protocol::Limit::KEY_BYTES_MAX);
    return false;
  }
  if (shape.key == Part::NEVER && header.keyBytes != 0) {
    say(sentence, "Opcode 0x%02x takes no key, but %u bytes of one were sent", header.opcode, header.keyBytes);
    return false;
  }
  if (shape.value == Part::NEVER && header.frameBytes() != header.partsBytes()) {
    say(sentence, "Opcode 0x%02x takes no value, but %zu bytes of one were sent", header.opcode,
        header.frameBytes() - header.partsBytes());
    return false;
  }
  return true;
}

bool fitsHello(const Header& header, Sentence* sentence) {
  const size_t authBytes = header.frameBytes() - header.partsBytes();
  if (header.keyBytes <= protocol::Limit::HELLO_NAME_BYTES_MAX && authBytes <= protocol::Limit::HELLO_AUTH_BYTES_MAX) {
    return true;
  }
  say(sentence, "HELLO carries a name of at most %u and an authentication of at most %u bytes, not %u and %zu",
      protocol::Limit::HELLO_NAME_BYTES_MAX, protocol::Limit::HELLO_AUTH_BYTES_MAX, header.keyBytes, authBytes);
  return false;
}

// Fills in what an operation's extras say. False, with a sentence: they ask for what cannot be.
bool readExtras(const char* extras, Operation* operation, Sentence* sentence) {
  switch (operation->opcode) {
    case Opcode::SET:
    case Opcode::TOUCH:
    case Opcode::APPEND:
      operation->ttlMs = load<uint64_t>(extras);
      break;
    case Opcode::INCREMENT:
      operation->delta = load<int64_t>(extras);
      operation->initial = load<int64_t>(extras + 8);
      operation->ttlMs = load<uint64_t>(extras + 16);
      break;
    default:
      break;
  }
  if ((operation->flags & Flag::IF_VERSION) != 0) {
    operation->ifVersion = loadVersion(extras + (operation->opcode == Opcode::SET ? TTL_BYTES : 0));
    if ((operation->flags & Flag::IF_ABSENT) != 0) {
      say(sentence, "IF_ABSENT and IF_VERSION exclude each other");
      return false;
    }
  }
  const bool isDegraded = (operation->flags & Flag::LEVEL_MASK) == Flag::LEVEL_MASK;
  if (isDegraded && operation->opcode != Opcode::GET) {
    say(sentence, "Level 3 is for GET only");
    return false;
  }
  if (operation->ttlMs > protocol::Limit::TTL_MS_MAX) {
    say(sentence, "A time to live of %llu ms is more than 100 years",
        static_cast<unsigned long long>(operation->ttlMs));
    return false;
  }
  return true;
}

bool readWalk(const char* extras, Request* request, Sentence* sentence) {
  request->cursor = load<uint64_t>(extras);
  if (request->kind == Kind::CLEAR) {
    request->horizon = load<uint64_t>(extras + 8);
    return true;
  }
  request->keysWanted = load<uint16_t>(extras + 8);
  if (request->keysWanted >= 1 && request->keysWanted <= protocol::Limit::SCAN_KEYS_MAX) return true;
  say(sentence, "A step of SCAN is for 1 to %u keys, not %u", protocol::Limit::SCAN_KEYS_MAX, request->keysWanted);
  return false;
}

// True if what a REPLICATE carries is what its kind has.
bool readReplicate(std::string_view extras, const Operation& operation, Sentence* sentence) {
  const auto slot = load<uint16_t>(extras.data() + 4);
  const auto kind = load<uint8_t>(extras.data() + 6);
  const bool hasBase = extras.size() > protocol::REPLICATE_BYTES;
  if (slot >= protocol::SLOTS || kind > protocol::ItemKind::EXPIRY) {
    say(sentence, "A REPLICATE is of kind 0 to 2 and slot 0 to 16383, not %u and %u", kind, slot);
    return false;
  }
  const bool isItem = kind == protocol::ItemKind::ITEM;
  const bool isTombstone = kind == protocol::ItemKind::TOMBSTONE;
  if (operation.key.empty() == isTombstone && (isItem || operation.value.empty()) &&
      hasBase == (kind == protocol::ItemKind::EXPIRY)) {
    return true;
  }
  say(sentence, "A REPLICATE of kind %u has another key, value or base version", kind);
  return false;
}

bool readQuery(std::string_view extras, Sentence* sentence) {
  const auto slot = load<uint16_t>(extras.data() + 4);
  if (slot < protocol::SLOTS) return true;
  say(sentence, "A slot is 0 to 16383, not %u", slot);
  return false;
}

bool breakOff(std::string_view bytes, Request* request) {
  request->kind = Kind::BROKEN;
  request->frameBytes = bytes.size();
  return true;
}

}  // namespace

bool parse(std::string_view bytes, const Gate& gate, Request* request, Operation* operation, Sentence* sentence) {
  request->id = 0;
  if (bytes.size() < LENGTH_BYTES) return false;
  const uint32_t length = load<uint32_t>(bytes.data());
  if (!isLengthPossible(length, gate)) {
    say(sentence, "A frame's length is %zu to %zu here, not %u", protocol::REQUEST_HEADER_BYTES - LENGTH_BYTES,
        gate.frameBytesMax - LENGTH_BYTES, length);
    return breakOff(bytes, request);
  }

  if (bytes.size() < protocol::REQUEST_HEADER_BYTES) return false;
  const Header header(bytes.data());
  request->id = header.id;
  const Shape* shape = admit(header, gate, &request->kind, sentence);
  if (shape == nullptr && request->kind == Kind::BROKEN) return breakOff(bytes, request);
  if (shape != nullptr && !fits(header, *shape, sentence)) return breakOff(bytes, request);
  if (gate.expects != Gate::Expects::REQUESTS && !fitsHello(header, sentence)) return breakOff(bytes, request);

  if (bytes.size() < header.frameBytes()) return false;
  request->frameBytes = header.frameBytes();
  request->deadlineMs = header.deadlineMs;
  if (shape == nullptr) return true;

  const char* extras = bytes.data() + protocol::REQUEST_HEADER_BYTES;
  request->kind = shape->kind;
  request->extras = {extras, header.extrasBytes};
  operation->opcode = static_cast<Opcode>(header.opcode);
  operation->flags = header.flags & shape->flags;
  operation->encoding = header.encoding;
  operation->ttlMs = 0;
  operation->key = {extras + header.extrasBytes, header.keyBytes};
  operation->value = bytes.substr(header.partsBytes(), header.frameBytes() - header.partsBytes());

  switch (shape->kind) {
    case Kind::OPERATION:
      if (!readExtras(extras, operation, sentence)) request->kind = Kind::REFUSED;
      break;
    case Kind::SCAN:
    case Kind::CLEAR:
      if (!readWalk(extras, request, sentence)) request->kind = Kind::REFUSED;
      break;
    // A node makes no such mistakes: this is another protocol, or another version.
    case Kind::REPLICATE:
      if (!readReplicate(request->extras, *operation, sentence)) return breakOff(bytes, request);
      break;
    case Kind::QUERY:
      if (!readQuery(request->extras, sentence)) return breakOff(bytes, request);
      break;
    default:
      break;
  }
  return true;
}

bool parseReply(std::string_view bytes, size_t frameBytesMax, Reply* reply) {
  reply->frameBytes = 0;
  if (bytes.size() < LENGTH_BYTES) return true;
  const size_t frameBytes = LENGTH_BYTES + size_t{load<uint32_t>(bytes.data())};
  if (frameBytes < protocol::RESPONSE_HEADER_BYTES || frameBytes > frameBytesMax) return false;
  if (bytes.size() < frameBytes) return true;
  const size_t extrasBytes = load<uint8_t>(bytes.data() + 7);
  if (protocol::RESPONSE_HEADER_BYTES + extrasBytes > frameBytes) return false;
  reply->status = load<uint8_t>(bytes.data() + 4);
  reply->id = load<uint32_t>(bytes.data() + 8);
  reply->extras = bytes.substr(protocol::RESPONSE_HEADER_BYTES, extrasBytes);
  reply->value = bytes.substr(0, frameBytes).substr(protocol::RESPONSE_HEADER_BYTES + extrasBytes);
  reply->frameBytes = frameBytes;
  return true;
}

size_t missingBytes(std::string_view bytes) {
  constexpr size_t LEAST_BYTES = protocol::RESPONSE_HEADER_BYTES;
  if (bytes.size() < LEAST_BYTES) return LEAST_BYTES - bytes.size();
  return LENGTH_BYTES + load<uint32_t>(bytes.data()) - bytes.size();
}

size_t frameBytesMax(uint32_t valueBytesMax) {
  return protocol::REQUEST_HEADER_BYTES + protocol::Limit::EXTRAS_BYTES_MAX + protocol::Limit::KEY_BYTES_MAX +
         size_t{valueBytesMax};
}

size_t helloFrameBytesMax() {
  return protocol::REQUEST_HEADER_BYTES + protocol::HELLO_BYTES + protocol::Limit::HELLO_NAME_BYTES_MAX +
         protocol::Limit::HELLO_AUTH_BYTES_MAX;
}

}  // namespace henge
