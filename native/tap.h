#pragma once

#include <node_api.h>
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "address_space.h"
#include "support/callback.h"
#include "support/class.h"
#include "support/loop_handle.h"
#include "support/unique_fd.h"
#include "tap_capture.h"
#include "tap_filter.h"

namespace node_kvm {

// One queue of a TAP interface, moving frames between it and guest memory, as a JavaScript object.
// Every frame starts with a virtio-net header of 12 bytes (virtio 1.2, 5.1.6).
//
// Batches are runs of numbers in a shared Float64Array, one frame or receive buffer after the
// other:
//   tag, count, then `count` pairs of guest address and length
// and results are [tag, number] by turns in a shared Int32Array, whose last element is kGone and
// kStarved.
class Tap {
 public:
  static constexpr char kName[] = "Tap";
  // Of the virtio-net header.
  static constexpr size_t kHeaderSize = 12;
  // Ethernet header, and the longest IP packet or the longest that segmentation offload makes.
  static constexpr size_t kFrameMax = 14 + 65535;
  // The interface has been deleted under us.
  static constexpr int32_t kGone = 1;
  // A frame waits for more buffers to be posted: until then none is taken after it.
  static constexpr int32_t kStarved = 2;

  Tap(UniqueFd fd, std::string name, bool multi_queue)
      : fd_(std::move(fd)), name_(std::move(name)), multi_queue_(multi_queue) {}
  ~Tap();

  // -1 once closed.
  int fd() const { return fd_.get(); }

  static napi_value New(napi_env env, napi_callback_info info);

  napi_value Name(napi_env env);
  napi_value Fd(napi_env env);
  napi_value Counters(napi_env env);
  napi_value Look(napi_env env, const Args& args);
  napi_value SetOffload(napi_env env, const Args& args);
  napi_value Attach(napi_env env, const Args& args);
  napi_value Detach(napi_env env, const Args& args);
  napi_value Features(napi_env env, const Args& args);
  napi_value Transmit(napi_env env, const Args& args);
  napi_value Post(napi_env env, const Args& args);
  napi_value Receive(napi_env env, const Args& args);
  napi_value GiveUp(napi_env env, const Args& args);
  napi_value Reset(napi_env env, const Args& args);
  napi_value Watch(napi_env env, const Args& args);
  napi_value Enable(napi_env env, const Args& args);
  napi_value Reopen(napi_env env, const Args& args);
  napi_value SetCarrier(napi_env env, const Args& args);
  napi_value SetOwner(napi_env env, const Args& args);
  napi_value Filter(napi_env env, const Args& args);
  napi_value Capture(napi_env env, const Args& args);
  napi_value TakeCaptured(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  class Poll : public LoopHandle<uv_poll_t> {
   public:
    int Open(napi_env env, int fd, std::function<void()> callback);
    void Watch(bool on);
    // The interface has gone; libuv has ended the watch.
    bool failed() const { return failed_; }

   private:
    bool on_ = false;
    bool failed_ = false;
  };
  struct Buffer {
    uint32_t tag = 0;
    size_t length = 0;  // bytes
    std::vector<iovec> segments;
  };

  bool ParseSegments(const double* words, size_t* at, size_t end, uint32_t* tag,
                     std::vector<iovec>* segments, size_t* length, int* error);
  int Send(std::vector<iovec>* segments, size_t length);
  // The next frame's place: the buffers that it may fill, into scratch_; how many, and their bytes.
  size_t GatherBuffers(size_t* room);
  // Reads a frame to where scratch_ says: 0 if it was dropped, -1 if there is none, or it waits.
  int ReadFrame(size_t room, size_t* length);
  // One frame into the posted buffers: the number of buffers used, or as above.
  int ReceiveFrame();
  void Report(uint32_t tag, int64_t result);
  bool BeginResults(napi_env env);
  void Unshare();
  void WatchIfUseful(bool on);
  // Calls back while there are frames; 0, or libuv's negative error.
  int OpenPoll(napi_env env);
  // Takes note of an interface that has been deleted.
  void Note(int error);
  bool gone() const { return gone_ || (enabled_ && poll_.failed()); }
  // Brings the shared state up to date.
  void Tell();

  UniqueFd fd_;
  std::string name_;
  bool multi_queue_;
  uint32_t offload_ = 0;
  napi_env env_ = nullptr;
  std::shared_ptr<const AddressSpaceSnapshot> memory_;
  napi_ref batch_ref_ = nullptr;
  napi_ref results_ref_ = nullptr;
  double* batch_ = nullptr;
  size_t batch_size_ = 0;
  int32_t* results_ = nullptr;
  size_t results_size_ = 0;  // without the state
  size_t result_count_ = 0;
  size_t received_bytes_ = 0;  // by the last receive()

  uint32_t tx_gso_types_ = 0;  // bit n: gso_type n is allowed
  bool tx_checksum_ = false;
  bool rx_checksum_ = false;
  bool mergeable_ = false;

  std::deque<Buffer> posted_;
  std::vector<Buffer> spare_;
  std::vector<iovec> scratch_;
  std::vector<uint8_t> overflow_;
  std::vector<uint8_t> waiting_;  // a frame for which too few buffers were posted
  uint32_t oversized_ = 0;
  uint32_t receive_errors_ = 0;
  int receive_error_ = 0;
  uint32_t filtered_ = 0;
  bool enabled_ = true;  // attached to its interface, for one of several queues
  bool gone_ = false;
  TapFilter filter_;
  TapCapture capture_;
  Poll poll_;
  Callback callback_;
};

bool DefineTap(napi_env env, napi_value exports);

}  // namespace node_kvm
