let count = 0

/** A network of two addresses for one test, which no other test that runs at the same time has: 30 bits of prefix. */
export interface TestNetwork {
  readonly host: string
  readonly guest: string
  readonly prefix: 30
}

/** One of 10.192.0.0/12: 32 for each of 8192 processes with numbers in a row. */
export function testNetwork(): TestNetwork {
  const block = ((process.pid % 8192) * 32 + (count++ % 32)) * 4
  const address = (last: number) =>
    [10, 192 + (block >>> 16), (block >>> 8) & 0xff, (block & 0xff) + last].join('.')
  return { host: address(1), guest: address(2), prefix: 30 }
}
