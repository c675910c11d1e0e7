{
  'variables': {
    # `node-gyp rebuild --sanitize=address` (or thread): for the developers' own builds.
    'sanitize%': '',
  },
  'targets': [
    {
      'target_name': 'node_kvm',
      'sources': [
        'native/addon.cc',
        'native/address_space.cc',
        'native/block_engine.cc',
        'native/block_file.cc',
        'native/device_fd.cc',
        'native/event_fd.cc',
        'native/exit_channel.cc',
        'native/io_ring.cc',
        'native/kvm_fd.cc',
        'native/mapping.cc',
        'native/posted_queue.cc',
        'native/route_table.cc',
        'native/tap.cc',
        'native/thread_pool.cc',
        'native/vcpu_fd.cc',
        'native/vcpu_thread.cc',
        'native/vm_fd.cc',
        'native/support/args.cc',
        'native/support/callback.cc',
        'native/support/checked_ioctl.cc',
        'native/support/env_data.cc',
        'native/support/errors.cc',
        'native/support/kick_signal.cc',
        'native/support/loop_handle.cc',
      ],
      'include_dirs': ['native', "<!(node -p \"require('node-addon-api').include_dir\")"],
      'defines': [
        'NAPI_VERSION=8',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
        '_GNU_SOURCE',
      ],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++14'],
      'cflags_cc': [
        '-std=c++20',
        '-fno-exceptions',
        '-fvisibility=hidden',
        '-fvisibility-inlines-hidden',
        '-Wall',
        '-Wextra',
        '-Werror',
        # GCC 12 and 13 see overlaps in std::string's operator+ where there are none (GCC bug 105651).
        '-Wno-restrict',
        '-Wno-unknown-warning-option',
      ],
      # The kick signal's handler must outlive every Worker that loaded the addon.
      'ldflags': ['-Wl,-z,nodelete'],
      'libraries': ['-lrt'],
      'conditions': [
        ['sanitize!=""', {
          'cflags_cc': ['-fsanitize=<(sanitize)', '-fno-omit-frame-pointer', '-g'],
          'ldflags': ['-fsanitize=<(sanitize)'],
        }],
      ],
    },
  ],
}
