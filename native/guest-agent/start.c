#include "syscalls.h"

int Main(int argc, char** argv);

// The kernel enters with argc at the stack's top (System V ABI, AMD64 supplement, section 3.4.1).
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call Start\n");

__attribute__((used, noreturn)) void Start(long* stack) {
  SYSCALL1(exit_group, Main((int)stack[0], (char**)(stack + 1)));
  __builtin_unreachable();
}

void* memcpy(void* to, const void* from, size_t count) {
  void* result = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  return result;
}

void* memset(void* to, int value, size_t count) {
  void* result = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  return result;
}
