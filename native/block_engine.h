#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "address_space.h"
#include "block_request.h"
#include "immediate_io.h"
#include "support/callback.h"
#include "support/class.h"
#include "support/loop_handle.h"

namespace node_kvm {

// A file's requests over guest memory, as a JavaScript object.
//
// A batch is a run of numbers in the shared Float64Array:
//   op | flag, tag, offset, length, count, then `count` pairs of guest address and length
// with the ops and the flag of BlockRequest. Flush, discard and write-zeroes have no pairs. A
// request that is malformed, or names memory outside the address space, completes with EFAULT or
// EINVAL; nothing of it is done.
class BlockEngine {
 public:
  static constexpr char kName[] = "BlockEngine";

  // What requests in flight need, kept for as long as there are any, even if this object goes.
  struct Core {
    std::shared_ptr<const AddressSpaceSnapshot> memory;
    std::vector<BlockRequest> requests;  // by tag
    std::vector<bool> busy;
    std::unique_ptr<BlockIo> io;
    UniqueFd fd;
    uint32_t in_flight = 0;
    ImmediateIo immediate;
  };

  BlockEngine(const char* kind, std::unique_ptr<Core> core) : kind_(kind), core_(std::move(core)) {}
  // Waits for what is in flight; what does not come back in time keeps its memory for good.
  ~BlockEngine();

  static napi_value New(napi_env env, napi_callback_info info);

  napi_value Kind(napi_env env);
  napi_value InFlight(napi_env env);
  napi_value Submit(napi_env env, const Args& args);
  napi_value Reap(napi_env env, const Args& args);
  napi_value Wait(napi_env env, const Args& args);
  napi_value Ref(napi_env env, const Args& args);
  napi_value Unref(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  bool Share(napi_env env, napi_value requests, napi_value completions);
  // The errno of a request that was not started, or 0; `*at` moves past it, to `end` if it is not
  // even that.
  int Start(const double* words, size_t* at, size_t end, uint32_t* tag);
  uint32_t Collect();
  void Report(uint32_t tag, int error);
  void OnEvent();

  const char* kind_;
  std::unique_ptr<Core> core_;
  std::vector<BlockIo::Done> done_;
  napi_env env_ = nullptr;
  napi_ref requests_ref_ = nullptr;
  napi_ref completions_ref_ = nullptr;
  double* requests_ = nullptr;
  size_t requests_size_ = 0;
  int32_t* completions_ = nullptr;
  uint32_t completed_ = 0;  // pairs in the shared array
  PollHandle poll_;
  Callback callback_;
};

bool DefineBlockEngine(napi_env env, napi_value exports);

}  // namespace node_kvm
