#include "tap_interface.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "support/args.h"
#include "support/class.h"
#include "support/errors.h"
#include "support/unique_fd.h"

namespace node_kvm {
namespace {

// <linux/ipv6.h> does not go together with <netinet/in.h>.
struct Ipv6InterfaceRequest {
  in6_addr address;
  uint32_t prefix_length;
  int interface_index;
};

ifreq RequestFor(const std::string& name) {
  ifreq request = {};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), size_t{IFNAMSIZ - 1}));
  return request;
}

// 0, or the errno; `*step` is then the ioctl that failed.
int SetUp(int socket, const std::string& name, bool up, const char** step) {
  ifreq request = RequestFor(name);
  *step = "SIOCGIFFLAGS";
  if (ioctl(socket, SIOCGIFFLAGS, &request) < 0) return errno;
  auto flags = static_cast<unsigned>(static_cast<uint16_t>(request.ifr_flags));
  flags = up ? flags | IFF_UP : flags & ~static_cast<unsigned>(IFF_UP);
  request.ifr_flags = static_cast<int16_t>(flags);
  *step = "SIOCSIFFLAGS";
  return ioctl(socket, SIOCSIFFLAGS, &request) < 0 ? errno : 0;
}

int SetMtu(int socket, const std::string& name, uint32_t mtu, const char** step) {
  ifreq request = RequestFor(name);
  request.ifr_mtu = static_cast<int>(mtu);
  *step = "SIOCSIFMTU";
  return ioctl(socket, SIOCSIFMTU, &request) < 0 ? errno : 0;
}

void PutIpv4(ifreq* request, const in_addr& address) {
  sockaddr_in socket_address = {};
  socket_address.sin_family = AF_INET;
  socket_address.sin_addr = address;
  std::memcpy(&request->ifr_addr, &socket_address, sizeof socket_address);
}

int SetIpv4(int socket, const std::string& name, const in_addr& address, uint32_t prefix,
            const char** step) {
  ifreq request = RequestFor(name);
  PutIpv4(&request, address);
  *step = "SIOCSIFADDR";
  if (ioctl(socket, SIOCSIFADDR, &request) < 0) return errno;
  in_addr mask = {htonl(prefix == 0 ? 0 : ~uint32_t{0} << (32 - prefix))};
  request = RequestFor(name);
  PutIpv4(&request, mask);
  *step = "SIOCSIFNETMASK";
  return ioctl(socket, SIOCSIFNETMASK, &request) < 0 ? errno : 0;
}

int SetIpv6(const std::string& name, const in6_addr& address, uint32_t prefix, const char** step) {
  UniqueFd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  *step = "socket";
  if (!socket) return errno;
  Ipv6InterfaceRequest request = {address, prefix, static_cast<int>(if_nametoindex(name.c_str()))};
  *step = "SIOCSIFADDR";
  if (request.interface_index == 0) return ENODEV;
  // The address may be there from before.
  return ioctl(socket.get(), SIOCSIFADDR, &request) < 0 && errno != EEXIST ? errno : 0;
}

int AddToBridge(int socket, const std::string& name, const std::string& bridge, const char** step) {
  ifreq request = RequestFor(bridge);
  request.ifr_ifindex = static_cast<int>(if_nametoindex(name.c_str()));
  *step = "SIOCBRADDIF";
  if (request.ifr_ifindex == 0) return ENODEV;
  return ioctl(socket, SIOCBRADDIF, &request) < 0 ? errno : 0;
}

// configureInterface(name, 'up', on) | (name, 'mtu', bytes) | (name, 'address', text, prefixLength)
// | (name, 'bridge', bridge)
napi_value ConfigureInterface(napi_env env, napi_callback_info info) {
  Args args(env, info);
  std::string name;
  std::string what;
  if (!GetString(env, args[0], "name", &name, IFNAMSIZ - 1) ||
      !GetString(env, args[1], "what", &what)) {
    return nullptr;
  }
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return ThrowKvmError(env, errno, "socket");
  const char* step = "";
  int error = EINVAL;
  if (what == "up") {
    bool on = false;
    napi_get_value_bool(env, args[2], &on);
    error = SetUp(socket.get(), name, on, &step);
  } else if (what == "mtu") {
    uint32_t mtu = 0;
    if (!GetUint32(env, args[2], "mtu", &mtu, 65535)) return nullptr;
    error = SetMtu(socket.get(), name, mtu, &step);
  } else if (what == "bridge") {
    std::string bridge;
    if (!GetString(env, args[2], "bridge", &bridge, IFNAMSIZ - 1)) return nullptr;
    error = AddToBridge(socket.get(), name, bridge, &step);
  } else if (what == "address") {
    std::string text;
    uint32_t prefix = 0;
    in_addr ipv4 = {};
    in6_addr ipv6 = {};
    if (!GetString(env, args[2], "address", &text)) return nullptr;
    bool is_ipv4 = inet_pton(AF_INET, text.c_str(), &ipv4) == 1;
    if (!is_ipv4 && inet_pton(AF_INET6, text.c_str(), &ipv6) != 1) {
      return ThrowInvalidOption(env, "address", args[2], "an IPv4 or IPv6 address");
    }
    if (!GetUint32(env, args[3], "prefixLength", &prefix, is_ipv4 ? 32 : 128)) return nullptr;
    error = is_ipv4 ? SetIpv4(socket.get(), name, ipv4, prefix, &step)
                    : SetIpv6(name, ipv6, prefix, &step);
  } else {
    return ThrowInvalidOption(env, "what", args[1], "'up', 'mtu', 'address' or 'bridge'");
  }
  return error == 0 ? nullptr : ThrowKvmError(env, error, step);
}

}  // namespace

bool DefineInterfaceConfiguration(napi_env env, napi_value exports) {
  napi_value function = nullptr;
  return napi_create_function(env, "configureInterface", NAPI_AUTO_LENGTH, ConfigureInterface,
                              nullptr, &function) == napi_ok &&
         napi_set_named_property(env, exports, "configureInterface", function) == napi_ok;
}

}  // namespace node_kvm
