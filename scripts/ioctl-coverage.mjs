// npm run coverage:ioctl: writes docs/ioctl-coverage.md from docs/ioctl-coverage.json.
//   --json           prints [{ ioctl, fd, wrapped, kvmIoctls, testedOn }] instead
//   --check          changes nothing; status 1 if the table is not what would be written
//   --record FILE... first takes over what test/kvm/every-ioctl.kvm.test.ts wrote to $NODE_KVM_RECORD_IOCTLS
import { readFileSync, writeFileSync } from 'node:fs'

const dataFile = new URL('../docs/ioctl-coverage.json', import.meta.url)
const tableFile = new URL('../docs/ioctl-coverage.md', import.meta.url)

/** Every ioctl, by descriptor; which of them kvm-ioctls wraps on x86-64; by KVM, those tested on it. */
const data = JSON.parse(readFileSync(dataFile, 'utf8'))

const KVMS = { kvm_pvm: 'software KVM', kvm_amd: 'kvm_amd', kvm_intel: 'kvm_intel' }
const TITLES = {
  system: 'System descriptor (`Kvm`)',
  vm: 'VM descriptor (`VmFd`)',
  vcpu: 'vCPU descriptor (`VcpuFd`)',
  device: 'Device descriptor (`DeviceFd`)',
}

function rows() {
  const theirs = new Set(data.kvmIoctls.wrapped)
  return data.ioctls.map((name) => {
    const [fd, ioctl] = name.split(' ')
    const testedOn = Object.entries(KVMS)
      .filter(([kind]) => data.testedOn[kind]?.includes(name))
      .map(([, title]) => title)
    return {
      ioctl,
      fd,
      wrapped: true,
      kvmIoctls: theirs.has(name),
      testedOn: testedOn.length > 0 ? testedOn : ['layout'],
    }
  })
}

function table() {
  const all = rows()
  const theirs = all.filter((row) => row.kvmIoctls).length
  const real = all.filter((row) => !row.testedOn.includes('layout')).length
  const lines = [
    '# Coverage of the KVM API',
    '',
    '<!-- Written by `npm run coverage:ioctl`. -->',
    '',
    `Every ioctl of the x86-64 KVM API up to Linux ${data.linux} that is not obsolete, by descriptor: ${all.length} in`,
    `node-kvm, ${theirs} in [kvm-ioctls](https://github.com/rust-vmm/kvm) ${data.kvmIoctls.version}.`,
    '',
    `${real} are run for real by \`test/kvm/every-ioctl.kvm.test.ts\`, on the KVM named. The others no KVM at hand offers:`,
    'of those the layout is compared with the headers, and the error is tested.',
  ]
  for (const [fd, title] of Object.entries(TITLES)) {
    lines.push(
      '',
      `## ${title}`,
      '',
      '| ioctl | node-kvm | kvm-ioctls | tested on |',
      '|---|---|---|---|',
    )
    for (const row of all.filter((candidate) => candidate.fd === fd)) {
      const theirMark = row.kvmIoctls ? 'yes' : '–'
      lines.push(`| \`${row.ioctl}\` | yes | ${theirMark} | ${row.testedOn.join(', ')} |`)
    }
  }
  return `${lines.join('\n')}\n`
}

function record(files) {
  for (const file of files) {
    const { kind, offered, refused } = JSON.parse(readFileSync(file, 'utf8'))
    data.testedOn[kind] = offered
    data.ioctls = [...offered, ...Object.keys(refused)].sort()
  }
  writeFileSync(dataFile, `${JSON.stringify(data, null, 2)}\n`)
}

const [mode, ...files] = process.argv.slice(2)
if (mode === '--json') {
  console.log(JSON.stringify(rows(), null, 2))
} else if (mode === '--check') {
  if (readFileSync(tableFile, 'utf8') !== table()) {
    console.error('docs/ioctl-coverage.md is out of date: npm run coverage:ioctl')
    process.exitCode = 1
  }
} else {
  if (mode === '--record') record(files)
  writeFileSync(tableFile, table())
}
