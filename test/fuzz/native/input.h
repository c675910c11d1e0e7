#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Values out of the bytes of an input; zeros once they are used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool done() const { return left_ == 0; }

  template <typename T>
  T Take() {
    T value{};
    Bytes(&value, sizeof value);
    return value;
  }

  void Bytes(void* to, size_t count) {
    size_t there = count < left_ ? count : left_;
    if (there > 0) std::memcpy(to, data_, there);
    data_ += there;
    left_ -= there;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

// Fails the run.
#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)
