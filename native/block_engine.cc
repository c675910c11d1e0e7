#include "block_engine.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "io_ring.h"
#include "support/args.h"
#include "support/errors.h"
#include "thread_pool.h"

namespace node_kvm {
namespace {

constexpr size_t kHeaderWords = 5;
constexpr uint32_t kMaxTags = 65536;
// A pooled request gives back what a rare long one made it grow to.
constexpr size_t kSegmentsKept = 64;
constexpr auto kDrainLimit = std::chrono::seconds(2);

}  // namespace

// new BlockEngine(kind, fd, memory, tags, requests, completions, onCompletions)
napi_value BlockEngine::New(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<BlockEngine>(env, info)) return nullptr;
  std::string kind;
  uint32_t fd = 0;
  uint32_t tags = 0;
  if (!GetString(env, args[0], "kind", &kind)) return nullptr;
  if (kind != "io_uring" && kind != "threads") {
    return ThrowInvalidOption(env, "kind", args[0], "'io_uring' or 'threads'");
  }
  if (!GetUint32(env, args[1], "fd", &fd, INT32_MAX)) return nullptr;
  auto* memory = Unwrap<AddressSpace>(env, args[2], "memory");
  if (!memory || !GetUint32(env, args[3], "tags", &tags, kMaxTags)) return nullptr;
  if (tags == 0) return ThrowInvalidOption(env, "tags", args[3], "at least 1");
  if (!IsFunction(env, args[6])) {
    return ThrowInvalidOption(env, "onCompletions", args[6], "a function");
  }

  auto core = std::make_unique<Core>();
  core->memory = memory->snapshot();
  core->requests.resize(tags);
  core->busy.resize(tags);
  // Our own descriptor: requests in flight must not meet another file under a closed one's number.
  // And our own open file: what a ring has registered stays open a while after the ring is closed,
  // and a lock would stay with it.
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  int flags = fcntl(static_cast<int>(fd), F_GETFL);
  core->fd = UniqueFd(open(path.c_str(), (flags & (O_ACCMODE | O_DIRECT)) | O_CLOEXEC));
  bool own_file = static_cast<bool>(core->fd);
  if (!own_file) core->fd = UniqueFd(fcntl(static_cast<int>(fd), F_DUPFD_CLOEXEC, 0));
  if (!core->fd) return ThrowKvmError(env, errno, "fcntl");
  core->immediate = ImmediateIo(core->fd.get());
  int error = 0;
  if (kind == "io_uring") {
    core->io = IoRing::Create(core->fd.get(), own_file, tags, &error);
    if (!core->io) return ThrowKvmError(env, error, "io_uring_setup");
  } else {
    core->io = ThreadPool::Create(core->fd.get(), &error);
    if (!core->io) return ThrowKvmError(env, error, "eventfd");
  }

  auto engine =
      std::make_unique<BlockEngine>(kind == "io_uring" ? "io_uring" : "threads", std::move(core));
  BlockEngine* raw = engine.get();
  if (!raw->Share(env, args[4], args[5])) return nullptr;
  if (!raw->callback_.Set(env, args.self, args[6], "node-kvm:block")) {
    return ThrowVmmError(env, "ERR_STATE", "no block engine can be made any more");
  }
  // The raw pointer is safe: the destructor and close() end the watch first.
  error = raw->poll_.Open(env, raw->core_->io->event_fd(), UV_READABLE, [raw] { raw->OnEvent(); });
  if (error < 0) return ThrowKvmError(env, -error, "epoll_ctl");
  napi_value self = Wrap(env, args.self, std::move(engine));
  // The object must not be collected, and waited for, while its owner still has an idle engine: the
  // owner closes it.
  return self;
}

bool BlockEngine::Share(napi_env env, napi_value requests, napi_value completions) {
  env_ = env;
  void* data = nullptr;
  size_t length = 0;
  if (!KeepTypedArray(env, requests, napi_float64_array, "requests", "a Float64Array",
                      &requests_ref_, &data, &requests_size_)) {
    return false;
  }
  requests_ = static_cast<double*>(data);
  if (!KeepTypedArray(env, completions, napi_int32_array, "completions", "an Int32Array",
                      &completions_ref_, &data, &length)) {
    return false;
  }
  completions_ = static_cast<int32_t*>(data);
  if (length >= 2 * core_->requests.size()) return true;
  ThrowInvalidOption(env, "completions", completions, "room for two elements a tag");
  return false;
}

BlockEngine::~BlockEngine() {
  poll_.Close();
  callback_.Reset();
  if (requests_ref_) napi_delete_reference(env_, requests_ref_);
  if (completions_ref_) napi_delete_reference(env_, completions_ref_);
  if (!core_) return;
  auto end = std::chrono::steady_clock::now() + kDrainLimit;
  while (core_->in_flight > 0 && std::chrono::steady_clock::now() < end) {
    core_->io->Wait(50);
    done_.clear();
    core_->io->Reap(&done_);
    core_->in_flight -= static_cast<uint32_t>(done_.size());
  }
  // The kernel or a thread may still write to this memory, whenever the file comes back: it stays,
  // for good.
  if (core_->in_flight > 0) core_.release();
}

napi_value BlockEngine::Kind(napi_env env) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, kind_, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value BlockEngine::InFlight(napi_env env) {
  return MakeInt32(env, core_ ? static_cast<int32_t>(core_->in_flight) : 0);
}

void BlockEngine::Report(uint32_t tag, int error) {
  if (completed_ >= core_->requests.size())
    return;  // one tag twice in a batch: no caller of ours does that
  completions_[2 * completed_] = static_cast<int32_t>(tag);
  completions_[2 * completed_ + 1] = error;
  completed_++;
}

int BlockEngine::Start(const double* words, size_t* at, size_t end, uint32_t* tag) {
  uint64_t field[kHeaderWords] = {};
  size_t header = *at;
  *at = end;
  if (end - header < kHeaderWords) return EINVAL;
  for (size_t i = 0; i < kHeaderWords; i++) {
    if (!ToInteger(words[header + i], &field[i])) return EINVAL;
  }
  uint64_t count = field[4];
  if (count > (end - header - kHeaderWords) / 2) return EINVAL;
  *at = header + kHeaderWords + 2 * count;
  if (field[1] >= core_->requests.size() || core_->busy[field[1]]) return EINVAL;
  *tag = static_cast<uint32_t>(field[1]);
  uint64_t op = field[0] & ~uint64_t{BlockRequest::kFlag};
  if (op > BlockRequest::kWriteZeroes) return EINVAL;

  BlockRequest& request = core_->requests[*tag];
  request.op = static_cast<BlockRequest::Op>(op);
  request.flag = (field[0] & BlockRequest::kFlag) != 0;
  request.tag = *tag;
  request.tries = 0;
  request.offset = field[2];
  request.length = field[3];
  request.segments.clear();
  request.first = 0;
  if (!request.transfers()) return 0;
  uint64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    const double* pair = words + header + kHeaderWords + 2 * i;
    uint64_t address = 0;
    uint64_t length = 0;
    void* host = nullptr;
    if (!ToInteger(pair[0], &address) || !ToInteger(pair[1], &length)) return EFAULT;
    if (!core_->memory->Resolve(address, length, &host)) return EFAULT;
    request.segments.push_back({host, static_cast<size_t>(length)});
    total += length;
  }
  return total == 0 || total != request.length ? EINVAL : 0;
}

// submit(words)
napi_value BlockEngine::Submit(napi_env env, const Args& args) {
  if (!core_) return ThrowClosed(env, "block engine");
  uint64_t words = 0;
  if (!GetInteger(env, args[0], "words", &words, requests_size_)) return nullptr;
  completed_ = 0;
  core_->immediate.BeginBatch();
  for (size_t at = 0; at < words;) {
    uint32_t tag = UINT32_MAX;
    int error = Start(requests_, &at, words, &tag);
    if (tag == UINT32_MAX) return ThrowVmmError(env, "ERR_STATE", "malformed block request batch");
    if (error != 0) {
      Report(tag, error);
      continue;
    }
    BlockRequest* request = &core_->requests[tag];
    error = core_->immediate.Try(request);
    if (error != BlockRequest::kMore) {
      Report(tag, error);
      continue;
    }
    core_->busy[tag] = true;
    core_->in_flight++;
    core_->io->Add(request);
  }
  core_->io->Submit();
  return MakeInt32(env, static_cast<int32_t>(Collect()));
}

// Moves completions into the shared array, which has room for every tag; returns how many it now
// holds.
uint32_t BlockEngine::Collect() {
  done_.clear();
  core_->io->Reap(&done_);
  for (const BlockIo::Done& done : done_) {
    std::vector<iovec>& segments = done.request->segments;
    if (segments.capacity() > kSegmentsKept) std::vector<iovec>().swap(segments);
    core_->busy[done.request->tag] = false;
    core_->in_flight--;
    Report(done.request->tag, done.error);
  }
  return completed_;
}

napi_value BlockEngine::Reap(napi_env env, const Args&) {
  if (!core_) return ThrowClosed(env, "block engine");
  completed_ = 0;
  return MakeInt32(env, static_cast<int32_t>(Collect()));
}

// wait(milliseconds)
napi_value BlockEngine::Wait(napi_env env, const Args& args) {
  if (!core_) return ThrowClosed(env, "block engine");
  uint32_t milliseconds = 0;
  if (!GetUint32(env, args[0], "milliseconds", &milliseconds, 60000)) return nullptr;
  completed_ = 0;
  if (Collect() == 0 && core_->in_flight > 0) {
    core_->io->Wait(static_cast<int>(milliseconds));
    Collect();
  }
  return MakeInt32(env, static_cast<int32_t>(completed_));
}

void BlockEngine::OnEvent() {
  core_->io->ClearEvent();
  completed_ = 0;
  double count = Collect();
  if (count > 0) callback_.Call(&count, 1);
}

napi_value BlockEngine::Ref(napi_env, const Args&) {
  poll_.Ref();
  return nullptr;
}

napi_value BlockEngine::Unref(napi_env, const Args&) {
  poll_.Unref();
  return nullptr;
}

napi_value BlockEngine::Close(napi_env env, const Args&) {
  if (!core_) return nullptr;
  if (core_->in_flight > 0) {
    return ThrowVmmError(env, "ERR_STATE", "the block engine has requests in flight");
  }
  poll_.Close();
  callback_.Reset();
  core_.reset();
  return nullptr;
}

bool DefineBlockEngine(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&BlockEngine::Kind>("kind"),     Getter<&BlockEngine::InFlight>("inFlight"),
      Method<&BlockEngine::Submit>("submit"), Method<&BlockEngine::Reap>("reap"),
      Method<&BlockEngine::Wait>("wait"),     Method<&BlockEngine::Ref>("ref"),
      Method<&BlockEngine::Unref>("unref"),   Method<&BlockEngine::Close>("close"),
  };
  return DefineClass<BlockEngine>(env, exports, BlockEngine::New, members);
}

}  // namespace node_kvm
