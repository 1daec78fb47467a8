// What stands behind a NativeWorker: the store's worker, its session, and the buffers that JavaScript lent.
#pragma once

#include <cstring>
#include <memory>
#include <string_view>

#include "../wire/session.h"
#include "call.h"

namespace henge {

// Memory that belongs to JavaScript, kept alive for as long as it is in use here.
class Borrowed {
 public:
  void hold(napi_env env, napi_value value, std::string_view bytes);
  void drop(napi_env env);
  char* at() const { return at_; }
  size_t size() const { return size_; }

 private:
  napi_ref reference_ = nullptr;
  char* at_ = nullptr;
  size_t size_ = 0;
};

// The memory outlives the worker, whichever of the two JavaScript drops first.
class WorkerBox final : public Box {
 public:
  WorkerBox(napi_env env, std::shared_ptr<Memory> memory, std::unique_ptr<Worker> worker);
  ~WorkerBox() override { close(); }

  void close();
  // False after it has thrown.
  bool isOpen() const;
  Memory& memory() { return *memory_; }
  Worker& worker() { return *worker_; }
  Session& session() { return *session_; }

  // `flags` of the worker in JavaScript.
  static constexpr size_t FLAGS = 3;
  void setFlag(size_t index, uint32_t value) { memcpy(flags.at() + index * sizeof value, &value, sizeof value); }

  Borrowed input;
  Borrowed output;
  Borrowed flags;

 private:
  const napi_env env_;
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Session> session_;
};

// Argument 0, the number of a connection that exists.
bool readConnection(const Call& call, WorkerBox& box, int32_t* connection);

// The functions of a worker, by what they are about: links to other nodes (worker_links.cc), slots and peers
// (worker_slots.cc).
void defineLinks(napi_env env, napi_value object, WorkerBox& box);
void defineSlots(napi_env env, napi_value object, WorkerBox& box);

}  // namespace henge
